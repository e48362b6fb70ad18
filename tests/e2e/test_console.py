"""The console as a person meets it: real pages of a real gateway in a real browser."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.support import accessible, chromium, ports, wait
from tests.support.chromium import Watched
from tests.support.process import StartProcess

TORII = str(Path(sys.executable).with_name("torii"))
STARTS_WITHIN_S = 60.0
#: A job of the emulator takes a few seconds; the machine may be busy with other tests.
DONE_WITHIN_MS = 60_000
PROMPT = "A torii gate in rain, lanterns lit"

OF_TEAM = (
    "/console",
    "/console/playground",
    "/console/gallery",
    "/console/jobs",
    "/console/batches",
    "/console/usage",
    "/console/keys",
    "/console/cache",
)
OF_OPERATOR = (
    "/console",
    "/console/teams",
    "/console/teams/default",
    "/console/budgets",
    "/console/ledger",
    "/console/caches",
    "/console/queue",
    "/console/unknown",
    "/console/upstream",
    "/console/audit",
    "/console?team=default",
    "/console/keys?team=default",
    "/console/webhooks?team=default",
)


@dataclass(frozen=True)
class Gateway:
    """A running gateway, its operator, and a key of its first team that may do everything within it."""

    url: str
    admin_token: str
    key: str

    async def admin(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the admin surface, as the operator."""
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=30) as client:
            answer = await client.request(method, f"/admin/v1{path}", headers=headers, json=body)
            answer.raise_for_status()
            told: dict[str, Any] = answer.json()
            return told

    async def batch(self, *prompts: str) -> str:
        """Order those pictures together; the batch's id."""
        body = {"model": "flux-2-max", "items": [{"prompt": prompt} for prompt in prompts]}
        headers = {"Authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=30) as client:
            answer = await client.post("/api/v1/batches", headers=headers, json=body)
            answer.raise_for_status()
            return str(answer.json()["batchId"])


@pytest.fixture
async def gateway(start_process: StartProcess) -> Gateway:
    """Give a whole gateway on this machine, with the emulated upstream."""
    settings = {"TORII_PORT": str(ports.free_one()), "TORII_WORKER_METRICS_PORT": "0"}
    process = start_process([TORII, "up", "--json"], settings, name="up")
    await asyncio.to_thread(process.wait_ready, '"key"', STARTS_WITHIN_S)
    said = json.loads(process.output())
    found = Gateway(said["url"], said["adminToken"], "")
    wanted = {"name": "console", "scopes": ["generate", "read", "manage"]}
    return Gateway(found.url, found.admin_token, (await found.admin("POST", "/teams/default/keys", wanted))["key"])


@pytest.fixture
async def window(browser: Browser, gateway: Gateway) -> AsyncIterator[Watched]:
    """Give a window of a desk's size, in which nothing may go wrong."""
    async with chromium.window(browser, gateway.url) as opened:
        yield opened


async def generate(page: Page, prompt: str = PROMPT) -> None:
    """Order a picture in the playground, and wait for it."""
    await page.goto("/console/playground")
    await page.get_by_label("Prompt", exact=False).first.fill(prompt)
    await page.get_by_role("button", name="Generate").click()
    await expect(page.locator("#result progress")).to_be_visible()
    await expect(page.locator("#result img")).to_be_visible(timeout=DONE_WITHIN_MS)


async def menu(page: Page, name: str) -> None:
    """Go to a page by the menu."""
    await page.locator(".side-nav").get_by_role("link", name=name, exact=True).click()


def curl(gateway: Gateway, key: str) -> tuple[int, dict[str, Any]]:
    """Ask who one is with that key, by curl itself; the status and the body."""
    command = ["curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", f"{gateway.url}/api/v1/account"]
    done = subprocess.run(
        [*command, "-H", f"Authorization: Bearer {key}"], capture_output=True, text=True, check=True, timeout=30
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


async def test_a_person_goes_the_whole_way(window: Watched, gateway: Gateway) -> None:
    """One signs in, generates, sees progress and picture, finds it, makes a key, uses it, revokes it, is refused."""
    page = window.page
    await chromium.sign_in(page, gateway.key)
    await menu(page, "Playground")
    await page.get_by_label("Prompt", exact=False).first.fill(PROMPT)
    await expect(page.locator("#quote")).to_contain_text("2 credits")
    await page.get_by_label("Number of outputs").select_option("2")
    await expect(page.locator("#quote")).to_contain_text("4 credits")
    await page.get_by_text("curl", exact=True).click()
    await expect(page.locator("#snippet-curl")).to_contain_text('"num_outputs": 2')
    await page.get_by_label("Number of outputs").select_option("1")
    await page.get_by_role("button", name="Roll a seed").click()
    seed = await page.get_by_label("Seed", exact=True).input_value()
    await page.get_by_role("button", name="Generate").click()
    await expect(page.locator("#result progress")).to_be_visible()
    await expect(page.locator("#result")).to_contain_text("expected")
    picture = page.locator("#result img")
    await expect(picture).to_be_visible(timeout=DONE_WITHIN_MS)
    await chromium.pictures_seen(page)
    await expect(page.locator("#result")).to_contain_text("Cost 2 credits")

    again = page.get_by_role("link", name="Same again with this seed")
    await again.click()
    assert await page.get_by_label("Prompt", exact=False).first.input_value() == PROMPT
    assert await page.get_by_label("Seed", exact=True).input_value() == seed

    await menu(page, "Gallery")
    tile = page.locator(".tile img")
    await expect(tile).to_have_attribute("alt", PROMPT)
    await chromium.pictures_seen(page)
    small = await page.request.get(str(await tile.get_attribute("src")))
    assert (small.headers["content-type"], small.headers["cache-control"]) == ("image/webp", "private, max-age=86400")
    await page.locator(".tile a").first.click()
    await expect(page.locator(".timeline")).to_contain_text("Archived and completed")

    await menu(page, "Keys")
    await page.get_by_label("Name").fill("for curl")
    await page.get_by_role("button", name="Make the key").click()
    made = await page.locator("#new-key").inner_text()
    assert curl(gateway, made)[0] == 200
    assert curl(gateway, made)[1]["key"]["name"] == "for curl"
    await page.reload()
    assert made not in await page.content()
    row = page.locator("tr", has_text="for curl")
    await row.locator("summary", has_text="Revoke").click()
    await row.get_by_role("button", name="Revoke it").click()
    await expect(page.locator("#notices")).to_contain_text("revoked")
    await wait.until(lambda: curl(gateway, made)[0] == 401, timeout_s=5, what="the key is refused", every_s=0.1)
    assert curl(gateway, made)[1]["error"]["code"] == "invalid_api_key"


async def test_a_session_ends_with_its_key(window: Watched, gateway: Gateway) -> None:
    """Once its key is revoked, the next click leads to the sign-in, and back to where one was."""
    page = window.page
    key = await gateway.admin("POST", "/teams/default/keys", {"name": "short", "scopes": ["read"]})
    await chromium.sign_in(page, key["key"])
    await gateway.admin("POST", f"/keys/{key['id']}/revoke")

    async def sent_away() -> bool:
        await page.goto("/console/jobs?state=completed")
        return "/console/sign-in" in page.url

    await wait.until(sent_away, timeout_s=10, what="the session has ended", every_s=0.2)
    await page.get_by_label("Team key or admin token").fill(gateway.key)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/console/jobs?state=completed")


async def test_the_keyboard_suffices(window: Watched, gateway: Gateway) -> None:
    """Without a mouse one signs in, skips to the content, generates a picture, and signs out."""
    page = window.page
    await page.goto("/console/playground")
    await expect(page.get_by_label("Team key or admin token")).to_be_focused()
    await page.keyboard.type(gateway.key)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/console/playground")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("Model")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.type(PROMPT)
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#result img")).to_be_visible(timeout=DONE_WITHIN_MS)
    await page.get_by_role("button", name="Sign out").focus()
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/console/sign-in")
    await page.goto("/console/gallery")
    assert "/console/sign-in" in page.url


async def test_an_operator_steers(window: Watched, gateway: Gateway) -> None:
    """An operator makes a team with a budget, pauses it, finds its records in the audit log, and no order button."""
    page = window.page
    await chromium.sign_in(page, gateway.admin_token)
    await menu(page, "Teams")
    await page.get_by_label("Name").fill("atelier")
    await page.get_by_label("Budget in credits").fill("40")
    await page.get_by_role("button", name="Make the team").click()
    await expect(page.locator("h1")).to_have_text("atelier")
    await expect(page.locator("main")).to_contain_text("0 held of 40")
    await page.get_by_role("button", name="Pause: send nothing upstream").click()
    await expect(page.get_by_role("button", name="Send its jobs again")).to_be_visible()
    await menu(page, "Queue")
    await expect(page.locator("main")).to_contain_text("atelier")
    await menu(page, "Audit log")
    await expect(page.locator("#results")).to_contain_text("team.create")
    await expect(page.locator("#results")).to_contain_text("pause.begin")
    await page.goto("/console/playground?team=atelier")
    await expect(page.locator("main")).to_contain_text("An order needs a key of a team")


async def test_a_page_hears_of_its_job(window: Watched, gateway: Gateway) -> None:
    """A page that shows a job is told when it changes, and asks for nothing by its own clock."""
    page = window.page
    await chromium.sign_in(page, gateway.key)
    await gateway.admin("POST", "/pauses", {"all": True})
    await page.clock.install()
    await page.goto("/console/playground")
    await page.get_by_label("Prompt", exact=False).first.fill(PROMPT)
    async with page.expect_response("**/progress*") as heard:
        await page.get_by_role("button", name="Generate").click()
    assert (await heard.value).status == 200
    await expect(page.locator("#result progress")).to_be_visible()
    # From here on no timer of the page rings.
    await page.clock.pause_at(datetime.now(UTC) + timedelta(seconds=30))
    job = (await gateway.admin("GET", "/jobs?state=queued"))["jobs"][0]
    await gateway.admin("POST", f"/jobs/{job['id']}/cancel")
    await expect(page.locator("#result")).to_contain_text("Taken back", timeout=DONE_WITHIN_MS)


async def test_a_page_that_hears_nothing_asks(window: Watched, gateway: Gateway) -> None:
    """Where no stream comes through, progress and picture come all the same, by asking."""
    page = window.page
    refused = []

    async def refuse(route: Route) -> None:
        refused.append(route.request.url)
        await route.fulfill(status=429, body="")

    await page.route("**/events*", refuse)
    await chromium.sign_in(page, gateway.key)
    await generate(page)
    assert refused


async def test_a_batch_is_followed_and_taken_back(window: Watched, gateway: Gateway) -> None:
    """One opens a batch, sees its items being worked off with their pictures, and takes another one back."""
    page = window.page
    await chromium.sign_in(page, gateway.key)
    done = await gateway.batch("a fox", "an owl")
    await menu(page, "Batches")
    await page.get_by_role("link", name=done).click()
    await expect(page.locator("#live")).to_contain_text("2 completed", timeout=DONE_WITHIN_MS)
    await expect(page.locator("#live")).to_contain_text("Finished", timeout=DONE_WITHIN_MS)
    await expect(page.locator(".minis img")).to_have_count(2)
    await chromium.pictures_seen(page)
    assert await accessible.faults(page) == []
    await gateway.admin("POST", "/pauses", {"all": True})
    other = await gateway.batch("a heron", "a hare", "a crane")
    await page.goto(f"/console/batches/{other}")
    await page.locator("summary", has_text="Take back").click()
    await page.get_by_role("button", name="Take it back").click()
    await expect(page.locator("#notices")).to_contain_text("Nothing more of the batch is sent")
    await expect(page.locator("#live")).to_contain_text("3 taken back", timeout=DONE_WITHIN_MS)
    await page.goto("/console/batches")
    assert await accessible.faults(page) == []


async def test_a_job_is_erased_and_a_cache_purged(window: Watched, gateway: Gateway) -> None:
    """One takes answers out of the cache, then erases the job, which asks twice, and finds no picture any more."""
    page = window.page
    await chromium.sign_in(page, gateway.key)
    await page.goto("/console/playground")
    await page.get_by_label("Seed", exact=True).fill("7")
    await page.get_by_label("Prompt", exact=False).first.fill(PROMPT)
    await page.get_by_role("button", name="Generate").click()
    await expect(page.locator("#result img")).to_be_visible(timeout=DONE_WITHIN_MS)
    await menu(page, "Cache")
    await expect(page.locator("main")).to_contain_text("request answered again")
    assert await accessible.faults(page) == []
    await page.locator("summary", has_text="Take out").click()
    await page.get_by_role("button", name="Take them out").click()
    await expect(page.locator("main")).to_contain_text("1 answer taken out of the cache")
    await menu(page, "Jobs")
    await page.locator("td.lead a").first.click()
    await page.locator("summary", has_text="Erase").click()
    await page.get_by_label("Nothing brings it back").check()
    assert await accessible.faults(page) == []
    await page.get_by_role("button", name="Erase it").click()
    await expect(page.locator("#notices")).to_contain_text("erased")
    await expect(page.locator("main")).not_to_contain_text(PROMPT)
    await menu(page, "Gallery")
    await expect(page.locator("main")).to_contain_text("No pictures yet")


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_every_page_is_fit_for_everybody(browser: Browser, gateway: Gateway, theme: str) -> None:
    """Each page has names, landmarks and contrast, and fits the screen, empty or not, at a desk and on a phone."""
    for width in (1280, 390):
        async with chromium.window(browser, gateway.url, width=width, theme=theme) as opened:
            page = opened.page
            await page.goto("/console/sign-in")
            assert await accessible.faults(page) == []
            await chromium.sign_in(page, gateway.key)
            if width == 390:
                await generate(page)
                assert await accessible.faults(page) == []
                await page.locator("#result").get_by_role("link", name="Open the job").click()
                await expect(page.locator(".timeline")).to_be_visible()
                assert await accessible.faults(page) == []
            for path in OF_TEAM:
                await page.goto(path)
                assert (path, await accessible.faults(page)) == (path, [])
            await page.goto("/console/jobs/job_none")
            assert await accessible.faults(page) == []
            await page.context.clear_cookies()
            await chromium.sign_in(page, gateway.admin_token)
            for path in OF_OPERATOR:
                await page.goto(path)
                assert (path, await accessible.faults(page)) == (path, [])


async def test_a_theme_is_remembered(browser: Browser, gateway: Gateway) -> None:
    """The theme that was chosen holds on every page and against the system's own, until it is left to it again."""
    async with chromium.window(browser, gateway.url, theme="light") as opened:
        page = opened.page
        await chromium.sign_in(page, gateway.key)
        light = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        await page.locator(".side-account").get_by_role("button", name="Dark").click()
        await page.goto("/console/jobs")
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") != light
        await page.locator(".side-account").get_by_role("button", name="As the system").click()
        assert page.url.endswith("/console/jobs")
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == light
