"""``make screenshots``: pictures of every page of the console, of a real gateway that did real work, in both themes.

A gateway is started with the emulated upstream, teams order from it, a submission is left in doubt, webhooks are taken
and refused; then Chromium looks at each page, at the width of a desk and of a phone. What the ledger has of some jobs
is moved some days back, so that a plot has more than one day. Tests nothing.

With names of pictures (``make screenshots ARGS="batch cache"``) it takes those alone, and leaves the others alone.
"""

import asyncio
import contextlib
import io
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import sqlalchemy as sa
from PIL import Image
from playwright.async_api import Browser, Page

from gateway.storage import database, tables
from tests.support import chromium, ports, wait
from tests.support.chromium import Chromium
from tests.support.emulator import EmulatorProcess
from tests.support.process import Process
from tests.support.receiver import Receiver, answer

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "console"
TORII: Final = str(Path(sys.executable).with_name("torii"))
WIDTHS: Final = (1280, 390)
THEMES: Final = ("light", "dark")
#: A page is pictured down to here: what lies below is more of the same.
HEIGHT_MAX: Final = 1700
QUALITY: Final = 80

ORDERS: Final = (
    ("A torii gate in rain, lanterns lit, wide shot", "16:9"),
    ("A fox asleep under a red maple, soft morning light", "1:1"),
    ("Old town street market at dawn, film grain", "3:2"),
    ("Paper cranes drifting over a calm sea", "4:5"),
    ("A glass teapot on a slate table, steam rising", "1:1"),
    ("Snow on a mountain pass, a single lantern", "9:16"),
    ("A lighthouse in fog, long exposure", "1:1"),
    ("Cedar forest after rain, moss and light", "4:3"),
    ("A ceramic bowl with three persimmons", "1:1"),
)
OF_TEAM: Final = (
    ("overview", "/console"),
    ("playground", "/console/playground"),
    ("gallery", "/console/gallery"),
    ("jobs", "/console/jobs"),
    ("batches", "/console/batches"),
    ("usage", "/console/usage"),
    ("keys", "/console/keys"),
    ("webhooks", "/console/webhooks"),
    ("cache", "/console/cache"),
)
OF_OPERATOR: Final = (
    ("installation", "/console"),
    ("teams", "/console/teams"),
    ("team", "/console/teams/atelier"),
    ("budgets", "/console/budgets"),
    ("ledger", "/console/ledger"),
    ("caches", "/console/caches"),
    ("queue", "/console/queue"),
    ("unknown", "/console/unknown"),
    ("upstream", "/console/upstream"),
    ("audit", "/console/audit"),
)


@dataclass(frozen=True)
class Stage:
    """A gateway with something to look at."""

    url: str
    admin_token: str
    key: str
    job: str
    delivery: str
    batch: str


async def main(names: frozenset[str]) -> None:
    """Play, and take the pictures of those names, or of every page."""
    program = Chromium()
    with tempfile.TemporaryDirectory(prefix="torii-screenshots-") as folder:
        async with _gateway(Path(folder)) as stage, program.launched() as browser:
            if not names:
                shutil.rmtree(FOLDER, ignore_errors=True)
            FOLDER.mkdir(parents=True, exist_ok=True)
            for theme in THEMES:
                for width in WIDTHS:
                    await _look(browser, stage, theme, width, names)
    size = sum(file.stat().st_size for file in FOLDER.iterdir())
    sys.stdout.write(f"{len(list(FOLDER.iterdir()))} pictures, {size / 1e6:.1f} MB, in {FOLDER}\n")


@contextlib.asynccontextmanager
async def _gateway(folder: Path) -> AsyncIterator[Stage]:
    receiver = Receiver(answers=[answer(204)] * 6 + [answer(500)])
    with EmulatorProcess(time_scale=0.06) as emulator:
        settings = {
            "TORII_PORT": str(ports.free_one()),
            "TORII_WORKER_METRICS_PORT": "0",
            "TORII_WEBHOOK_ALLOW_NETS": "127.0.0.0/8",
            "TORII_RESULT_HOSTS": emulator.result_host,
            "PIXELDOJO_API_KEY": "pd_emulated",
            "PIXELDOJO_API_BASE": emulator.api_base,
        }
        process = Process([TORII, "up", "--json"], folder=folder, environment=settings, name="up").start()
        try:
            await wait.until(lambda: '"key"' in process.output(), timeout_s=90, what="the gateway is up")
            async with receiver.listening():
                yield await _play(json.loads(process.output()), emulator, receiver, folder)
        finally:
            process.end(30)


async def _play(said: dict[str, Any], emulator: EmulatorProcess, receiver: Receiver, folder: Path) -> Stage:
    """Have teams, budgets, keys, orders and webhooks."""
    admin = httpx.AsyncClient(
        base_url=f"{said['url']}/admin/v1",
        headers={"Authorization": f"Bearer {said['adminToken']}"},
        trust_env=False,
        timeout=30,
    )
    async with admin:
        keys = {}
        for team, day, month in (("atelier", 60, 400), ("newsroom", None, 120), ("shop", 25, None)):
            windows = (("day", day), ("month", month))
            budgets = [{"window": window, "limit": limit, "soft": limit * 0.8} for window, limit in windows if limit]
            await _ask(admin, "POST", "/teams", {"name": team, "budgets": budgets})
            scopes = ["generate", "read", "manage"]
            keys[team] = (await _ask(admin, "POST", f"/teams/{team}/keys", {"name": "studio", "scopes": scopes}))["key"]
        batch = await _ask(admin, "POST", "/teams/atelier/keys", {"name": "nightly batch", "rpm": 30})
        await _ask(admin, "POST", "/teams/atelier/keys", {"name": "old laptop"})
        listed = await _ask(admin, "GET", "/teams/atelier/keys")
        old = next(key["id"] for key in listed["keys"] if key["name"] == "old laptop")
        await _ask(admin, "POST", f"/keys/{old}/revoke")
        await _ask(admin, "POST", "/webhooks/atelier/rotate-secret", {"graceS": 0})
        await _ask(admin, "PUT", "/webhooks/atelier", {"url": f"http://127.0.0.1:{receiver.port}/torii"})
        jobs = [await _order(said["url"], keys["atelier"], *order) for order in ORDERS]
        jobs += [await _order(said["url"], batch["key"], *order) for order in ORDERS[:4]]
        others = [await _order(said["url"], keys[team], *ORDERS[at]) for at, team in enumerate(("newsroom", "shop"))]
        for job in (*jobs, *others):
            await _ended(admin, job)
        made = await _batch(said["url"], keys["atelier"])
        await _move_back(folder, jobs)
        # Its list of jobs would be evidence, and end the doubt before anybody sees it.
        emulator.switch(submit_fault="cut_after", list_fault={"kind": "status", "status": 500})
        await _order(said["url"], keys["newsroom"], "A headline picture for the morning edition", "3:2")
        await _seen(admin, "/jobs?state=submission_unknown", "jobs")
        emulator.switch(submit_fault=None)
        await _ask(admin, "POST", "/pauses", {"team": "shop"})
        for _ in range(3):
            await _order(said["url"], keys["shop"], "A product on white, soft shadow", "1:1")
        told = await _seen(admin, "/deliveries?state=delivered", "deliveries")
        return Stage(said["url"], said["adminToken"], keys["atelier"], jobs[0], told[0]["id"], made)


async def _look(browser: Browser, stage: Stage, theme: str, width: int, names: frozenset[str]) -> None:
    height = 900 if width > 760 else 844
    async with chromium.window(browser, stage.url, width=width, height=height, theme=theme) as opened:
        page = opened.page
        if not names or "sign-in" in names:
            await page.goto("/console/sign-in")
            await _picture(page, "sign-in", theme, width)
        await chromium.sign_in(page, stage.key)
        details = (
            ("job", f"/console/jobs/{stage.job}"),
            ("batch", f"/console/batches/{stage.batch}"),
            ("delivery", f"/console/webhooks/{stage.delivery}"),
        )
        for name, path in (*OF_TEAM, *details):
            if names and name not in names:
                continue
            await page.goto(path)
            if name == "playground":
                await _generate(page)
            await _picture(page, name, theme, width)
        await page.context.clear_cookies()
        await chromium.sign_in(page, stage.admin_token)
        for name, path in OF_OPERATOR:
            if names and name not in names:
                continue
            await page.goto(path)
            await _picture(page, name, theme, width)


async def _generate(page: Page) -> None:
    """Fill in the form and wait for its picture."""
    await page.locator("#prompt").fill("A torii gate at dusk, fireflies over the path")
    await page.locator("#quote dl").wait_for()
    await page.locator("#generate").click()
    await page.locator("#result img").wait_for(timeout=60_000)


async def _picture(page: Page, name: str, theme: str, width: int) -> None:
    for image in await page.locator("main img").all():
        await image.scroll_into_view_if_needed()
    await chromium.pictures_seen(page)
    await page.evaluate("window.scrollTo(0, 0)")
    whole = await page.evaluate("document.documentElement.scrollHeight")
    size = page.viewport_size or {"width": width, "height": 900}
    await page.set_viewport_size({"width": width, "height": min(max(int(whole), size["height"]), HEIGHT_MAX)})
    with Image.open(io.BytesIO(await page.screenshot())) as taken:
        taken.convert("RGB").save(FOLDER / f"{name}-{theme}-{width}.webp", quality=QUALITY, method=6)
    await page.set_viewport_size(size)


async def _ask(client: httpx.AsyncClient, method: str, path: str, body: Any = None) -> dict[str, Any]:
    answered = await client.request(method, path, json=body)
    answered.raise_for_status()
    found: dict[str, Any] = answered.json()
    return found


async def _order(url: str, key: str, prompt: str, ratio: str) -> str:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        body = {"prompt": prompt, "aspect_ratio": ratio, "seed": sum(prompt.encode()) * len(key)}
        headers = {"Authorization": f"Bearer {key}"}
        answered = await client.post("/api/v1/models/flux-2-max/run", json=body, headers=headers)
        answered.raise_for_status()
        return str(answered.json()["jobId"])


async def _batch(url: str, key: str) -> str:
    """Order all of them together, and have most of them done."""
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        items = [{"prompt": prompt, "aspect_ratio": ratio} for prompt, ratio in ORDERS]
        body = {"model": "flux-2-max", "items": items, "concurrency": 3, "torii": {"metadata": {"campaign": "winter"}}}
        answered = await client.post("/api/v1/batches", json=body, headers=headers)
        answered.raise_for_status()
        batch: str = answered.json()["batchId"]

        async def most() -> bool:
            found = (await client.get(f"/api/v1/batches/{batch}", headers=headers)).json()
            return bool(found["counts"]["completed"] >= len(items) - 2)

        await wait.until(most, timeout_s=90, what="most of the batch is done", every_s=0.3)
    return batch


async def _ended(admin: httpx.AsyncClient, job_id: str) -> None:
    async def over() -> bool:
        return (await _ask(admin, "GET", f"/jobs/{job_id}"))["state"] in ("completed", "failed")

    await wait.until(over, timeout_s=90, what="the job has ended", every_s=0.3)


async def _seen(admin: httpx.AsyncClient, path: str, name: str) -> list[dict[str, Any]]:
    async def found() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await _ask(admin, "GET", path))[name]
        return rows

    return await wait.until(found, timeout_s=60, what=f"something in {path}", every_s=0.3)


async def _move_back(folder: Path, jobs: list[str]) -> None:
    """Count some jobs to the days before."""
    opened = database.open(f"sqlite+aiosqlite:///{folder}/var/torii.db")
    entry = tables.ledger_entries
    try:
        async with opened.write() as tx:
            for number, job_id in enumerate(jobs[2:]):
                at = datetime.now(UTC) - timedelta(days=1 + number * 2 % 9)
                day = {"day": f"{at:%Y-%m-%d}", "month": f"{at:%Y-%m}"}
                await tx.execute(sa.update(entry).where(entry.c.job_id == job_id).values(day))
    finally:
        await opened.close()


if __name__ == "__main__":
    asyncio.run(main(frozenset(sys.argv[1:])))
