"""Who may see and do what in the console, route by route: generated from the list of its routes.

A route whose path names something that ``World.named`` has no entry for fails here until it has one.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from litestar.handlers import HTTPRouteHandler

from gateway.storage import outbox, tables
from gateway.tenancy.scopes import Scope
from service.console import handlers, visits
from service.console.routes import ROUTES
from tests.api.door import ADMIN_TOKEN, Door
from tests.api.test_console_sessions import SIGN_IN, own, sign_in, text_of, token
from tests.api.test_images import picture

CLOSED = tuple(route for route in ROUTES if not route.opt[handlers.OPEN])
#: What else a form sends, where the house would refuse an empty one.
FORMS = {
    "console.quote": {"model": "flux-2-max", "prompt": "a torii gate"},
    "console.run": {"model": "flux-2-max", "prompt": "a torii gate"},
    "console.makeKey": {"name": "made", "scopes": "manage"},
    "console.setWebhook": {"url": ""},
    "console.makeTeam": {"name": "made"},
    "console.setLimits": {"rpm": "7"},
    "console.setBudget": {"window": "day", "limit": "9"},
    "console.topup": {"credits": "5"},
    "console.erase": {"sure": "yes"},
    "console.purgeCaches": {"all": "yes"},
    "console.price": {"model": "flux-2-max", "resolution": "1 MP", "credits": "2"},
}
BATCH = {"model": "flux-2-max", "items": [{"prompt": "a torii gate"}, {"prompt": "a torii gate at night"}]}
#: What never ends by itself is asked for its head alone.
STREAMS = frozenset({"console.jobEvents"})
#: The deed itself may be refused for the state that things are in.
GOOD = frozenset({200, 303, 409})


@dataclass
class World:
    """Two teams with a key of each scope, and what the pages of the one are about."""

    door: Door
    keys: dict[str, str] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)

    async def prepare(self) -> None:
        """Make it all."""
        team, operators = await self.door.team("own"), await self.door.team("operators")
        for scope in Scope:
            _, headers = await self.door.key(operators if scope is Scope.ADMIN else team, frozenset({scope}))
            self.keys[scope.value] = text_of(headers)
        _, everything = await self.door.key(team, frozenset({Scope.GENERATE, Scope.READ, Scope.MANAGE}))
        self.keys["everything"] = text_of(everything)
        self.own = await self._named("own", {"Authorization": f"Bearer {self.keys['generate']}"})
        self.own["key"] = (await self.door.key(team, frozenset({Scope.MANAGE})))[0].id
        other, headers = await self.door.key(await self.door.team("foreign"))
        self.foreign = {**await self._named("foreign", headers), "key": other.id}

    async def _named(self, team: str, headers: dict[str, str]) -> dict[str, str]:
        done: str = (await self.door.run(headers)).json()["jobId"]
        image = await self.door.finish(done, picture())
        queued = await self.door.run(headers, {"prompt": "a torii gate", "webhook_url": "https://hooks.example/"})
        await self.door.client.post(f"/api/v1/jobs/{queued.json()['jobId']}/cancel", headers=headers)
        rows = await self.door.rows(outbox.deliveries)
        delivery = next(str(row["id"]) for row in rows if row["job_id"] == queued.json()["jobId"])
        batch = await self.door.client.post("/api/v1/batches", headers=headers, json=BATCH)
        waiting: str = (await self.door.run(headers)).json()["jobId"]
        return {
            "job": waiting,
            "image": image,
            "name": team,
            "delivery": delivery,
            "batch": batch.json()["batchId"],
            "mark": "x",
        }

    async def ask(self, route: HTTPRouteHandler, named: dict[str, str]) -> httpx.Response:
        """Ask for the route about those things, as the browser that is signed in."""
        path = re.sub(r"\{(\w+):str\}", lambda match: named[match[1]], next(iter(route.paths)))
        if "POST" not in route.http_methods:
            return await self.door.client.request("HEAD" if route.name in STREAMS else "GET", path)
        form = {**FORMS.get(str(route.name), {}), "csrf": await token(self.door)}
        return await self.door.client.post(path, data=form, headers=own(self.door))


def archived(door: Door, pattern: str) -> list[Path]:
    """The archive's files of that pattern."""
    return sorted(Path(door.settings.archive_url).rglob(pattern))


@pytest.fixture
async def world(door: Door) -> World:
    """Give two teams and what they have."""
    made = World(door)
    await made.prepare()
    return made


def test_every_route_says_who_may_ask() -> None:
    """Each route of the console names its scopes or is open, and has a name of its own."""
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    assert all(visits.SCOPES in route.opt for route in ROUTES)
    assert {str(route.name) for route in ROUTES if route.opt[handlers.OPEN]} == {
        "console.signIn",
        "console.beginSession",
        "console.setTheme",
        "console.asset",
    }


async def test_without_a_session_each_page_leads_to_the_sign_in(door: Door) -> None:
    """No page and no form of the console is had without a session."""
    for route in CLOSED:
        path = re.sub(r"\{(\w+):str\}", "x", next(iter(route.paths)))
        method = "POST" if "POST" in route.http_methods else "GET"
        answer = await door.client.request(method, path, headers=own(door))
        assert answer.status_code == 303, route.name
        assert answer.headers["location"].startswith(SIGN_IN), route.name


@pytest.mark.parametrize("route", CLOSED, ids=lambda route: str(route.name))
async def test_who_may_ask(world: World, route: HTTPRouteHandler) -> None:
    """A session without the scope is a 403, one with it is answered, and another team's thing is a 404."""
    scopes: tuple[Scope, ...] = route.opt[visits.SCOPES]
    about = set(re.findall(r"\{(\w+):str\}", next(iter(route.paths)))) - {"name"}
    for scope in (Scope.READ, Scope.MANAGE, Scope.GENERATE):
        await sign_in(world.door, world.keys[scope.value])
        if scopes and scope not in scopes:
            assert (await world.ask(route, world.own)).status_code == 403, scope
            continue
        if about:
            assert (await world.ask(route, world.foreign)).status_code == 404, scope
        answer = await world.ask(route, world.own)
        # A key with `generate` alone sees what it ordered itself, and that is what is asked for here.
        assert answer.status_code in GOOD, (scope, answer.text)


@pytest.mark.parametrize("route", CLOSED, ids=lambda route: str(route.name))
async def test_the_operator_reaches_everything(world: World, route: HTTPRouteHandler) -> None:
    """The admin token and a key with `admin` see and do all of it of any team, but order nothing of another team's."""
    for credential in (ADMIN_TOKEN, world.keys["admin"]):
        await sign_in(world.door, credential)
        path = re.sub(r"\{(\w+):str\}", lambda match: world.own[match[1]], next(iter(route.paths)))
        if "POST" in route.http_methods:
            form = {**FORMS.get(str(route.name), {}), "csrf": await token(world.door), "name": "made"}
            form |= FORMS.get(str(route.name), {})
            answer = await world.door.client.post(f"{path}?team=own", data=form, headers=own(world.door))
        else:
            method = "HEAD" if route.name in STREAMS else "GET"
            answer = await world.door.client.request(method, f"{path}?team=own")
        if str(route.name) in ("console.quote", "console.run", "console.cancelBatch"):
            assert answer.status_code == 403
        elif str(route.name) == "console.settle":
            assert answer.status_code in (400, 409)
        elif str(route.name) == "console.makeTeam" and credential != ADMIN_TOKEN:
            assert answer.status_code == 409, "there is one by now"
        else:
            assert answer.status_code in GOOD, (route.name, answer.text[-600:])


async def test_a_key_sees_its_own_jobs_alone_without_read(world: World) -> None:
    """A key with `generate` alone finds its own jobs and pictures in lists, and no other key's of its team."""
    own_job, own_image = world.own["job"], world.own["image"]
    everything = {"Authorization": f"Bearer {world.keys['everything']}"}
    other = (await world.door.run(everything)).json()["jobId"]
    other_image = await world.door.finish(other, picture())
    await sign_in(world.door, world.keys["generate"])
    jobs, gallery = await world.door.client.get("/console/jobs"), await world.door.client.get("/console/gallery")
    assert (own_job in jobs.text, other in jobs.text) == (True, False)
    assert (own_image in gallery.text, other_image in gallery.text) == (True, False)
    for path in (f"/console/jobs/{other}", f"/console/pictures/{other_image}", f"/console/thumbnails/{other_image}"):
        assert (await world.door.client.get(path)).status_code == 404, path
    await sign_in(world.door, world.keys["read"])
    assert other in (await world.door.client.get("/console/jobs")).text


async def test_a_form_sent_twice_orders_once(world: World) -> None:
    """The same form of the playground orders one job however often it is sent, and with another prompt a new one."""
    await sign_in(world.door, world.keys["everything"])
    before = len(await world.door.rows(tables.jobs))
    form = {"model": "flux-2-max", "prompt": "once", "once": "abc", "csrf": await token(world.door)}
    for prompt in ("once", "once", "twice"):
        sent = {**form, "prompt": prompt}
        answer = await world.door.client.post("/console/playground/run", data=sent, headers=own(world.door))
        assert answer.status_code == 303, answer.text
    assert len(await world.door.rows(tables.jobs)) == before + 2


async def test_a_page_escapes_what_others_wrote(world: World) -> None:
    """A prompt, a name or an address that is HTML is shown as text, wherever it stands."""
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    everything = {"Authorization": f"Bearer {world.keys['everything']}"}
    job = (await world.door.run(everything, {"prompt": hostile})).json()["jobId"]
    await sign_in(world.door, world.keys["everything"])
    for path in ("/console", "/console/jobs", f"/console/jobs/{job}", f"/console/playground?from={job}"):
        page = (await world.door.client.get(path)).text
        assert "<script>alert" not in page, path
        assert "<img src=x" not in page, path
    filtered = await world.door.client.get("/console/jobs", params={"q": hostile})
    assert "<img src=x" not in filtered.text


async def test_a_thumbnail_is_made_once(world: World) -> None:
    """The small copy is WebP, made at the first look and kept beside the picture; a broken one gives the picture."""
    await sign_in(world.door, world.keys["everything"])
    path = f"/console/thumbnails/{world.own['image']}"
    first = await world.door.client.get(path)
    assert (first.status_code, first.headers["content-type"]) == (200, "image/webp")
    assert first.content[8:12] == b"WEBP"
    small = archived(world.door, "*.thumb.webp")
    assert len(small) == 1
    written_at = small[0].stat().st_mtime_ns
    assert (await world.door.client.get(path)).content == first.content
    assert small[0].stat().st_mtime_ns == written_at
    for file in archived(world.door, "0.*"):
        file.write_bytes(b"no picture")
    broken = await world.door.client.get(path)
    assert (broken.content, broken.headers["cache-control"]) == (b"no picture", first.headers["cache-control"])
    small[0].unlink()
    fallen_back = await world.door.client.get(path)
    assert (fallen_back.content, fallen_back.headers["content-type"]) == (b"no picture", "image/png")
    assert fallen_back.headers["cache-control"] == "private, max-age=60"


async def test_a_webhooks_address_is_shown_to_who_manages_it(world: World) -> None:
    """The timeline of a job tells the origin alone of where its end is told, and the rest to a key with `manage`."""
    everything = {"Authorization": f"Bearer {world.keys['everything']}"}
    url = "https://hooks.example/secret-path?token=1"
    job = (await world.door.run(everything, {"prompt": "a torii gate", "webhook_url": url})).json()["jobId"]
    await world.door.client.post(f"/api/v1/jobs/{job}/cancel", headers=everything)
    for key, whole in (("read", False), ("everything", True)):
        await sign_in(world.door, world.keys[key])
        page = (await world.door.client.get(f"/console/jobs/{job}")).text
        assert ("https://hooks.example" in page, "secret-path" in page) == (True, whole), key


OF_OPERATOR = ("/console/queue", "/console/ledger", "/console/audit")
PARTS = (
    ("/console/playground?model=flux-2-dev", 'id="bench"'),
    ("/console/gallery", 'id="results"'),
    ("/console/jobs", 'id="results"'),
    ("/console/webhooks", 'id="log"'),
    ("/console/batches", 'id="results"'),
    ("/console/queue", 'id="lanes"'),
    ("/console/ledger", 'id="results"'),
    ("/console/audit", 'id="results"'),
)


@pytest.mark.parametrize(("path", "mark"), PARTS)
async def test_a_part_of_a_page_stands_alone(world: World, path: str, mark: str) -> None:
    """What htmx asks for is the part of the page that changes, with none of what is around it."""
    await sign_in(world.door, ADMIN_TOKEN if path in OF_OPERATOR else world.keys["everything"])
    part = await world.door.client.get(path, headers={"HX-Request": "true"})
    assert part.status_code == 200
    assert (mark in part.text, "<html" in part.text, "<h1" in part.text) == (True, False, False)


async def test_a_new_secret_is_shown_in_its_part(world: World) -> None:
    """Keys and webhook secrets are made within the page: the answer is the part of it that shows them, this once."""
    await sign_in(world.door, world.keys["everything"])
    headers = {**own(world.door), "HX-Request": "true"}
    csrf = await token(world.door)
    made = await world.door.client.post(
        "/console/keys/make", data={"name": "made", "scopes": "read", "csrf": csrf}, headers=headers
    )
    assert (made.status_code, "torii_" in made.text, "<html" in made.text) == (200, True, False)
    secret = await world.door.client.post("/console/webhooks/secret", data={"csrf": csrf}, headers=headers)
    assert (secret.status_code, "whsec_" in secret.text, "<html" in secret.text) == (200, True, False)
