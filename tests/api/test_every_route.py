"""Who may ask for what, route by route: generated from the list of operations, so that no new route is forgotten.

A route that has no entry in ``EXAMPLES``, or a parameter that has none in ``World.named``, fails here until it has one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from gateway.storage import outbox
from gateway.tenancy.scopes import Scope
from service import operations
from service.described import Operation
from tests.api.door import ADMIN_TOKEN, GOOD, Door
from tests.support.editing import picture

GENERATE, READ, MANAGE, ADMIN = Scope.GENERATE, Scope.READ, Scope.MANAGE, Scope.ADMIN
#: The parts of a path that name something of a team's.
OWNED = frozenset({"jobId", "batchId", "uploadId", "job", "team", "key", "delivery"})
REFUSED = frozenset({401, 403, 404, 405})


@dataclass(frozen=True)
class Example:
    """How a route is asked for, and by which scopes it may be; none of them for a route that asks for no key."""

    scopes: frozenset[Scope] = frozenset()
    body: Mapping[str, Any] | None = None


def only(*scopes: Scope, **body: Any) -> Example:
    """A route for those scopes, with that body."""
    return Example(frozenset(scopes), body or None)


OPEN = Example()
OPERATOR = only(ADMIN)
MANAGER = only(ADMIN, MANAGE)

EXAMPLES: dict[str, Example] = {
    "runModel": only(GENERATE, **GOOD),
    "quoteModel": only(GENERATE, **GOOD),
    "getAccount": only(*Scope),
    "getJob": only(READ, GENERATE),
    "cancelJob": only(GENERATE),
    "listJobs": only(READ, GENERATE),
    "watchJob": only(READ, GENERATE),
    "createImage": only(GENERATE, model="flux-2-max", prompt="a gate", n=9),  # one that it took would be waited for
    "openaiListModels": only(*Scope),
    "openaiGetModel": only(*Scope),
    "eraseJob": only(MANAGE),
    "createBatch": only(GENERATE, model="flux-2-max", items=[GOOD]),
    "listBatches": only(READ, GENERATE),
    "getBatch": only(READ, GENERATE),
    "cancelBatch": only(GENERATE),
    "createUpload": only(GENERATE, url="https://127.0.0.1/cat.png"),  # which it may not fetch, whoever asks
    "listUploads": only(READ, GENERATE),
    "getUpload": only(READ, GENERATE),
    "deleteUpload": only(GENERATE, MANAGE),
    "getUploadFile": OPEN,  # its signature is its key
    "replayWebhook": only(GENERATE, MANAGE),
    "listModels": OPEN,
    "getModel": OPEN,
    "getModelSchema": OPEN,
    "getImage": OPEN,  # its signature is its key
    "upstreamHook": OPEN,  # its token is its key
    "live": OPEN,
    "ready": OPEN,
    "paid": OPEN,  # to this machine, where no TORII_METRICS_TOKEN is set
    "metrics": OPEN,
    "books": OPEN,
    "welcome": OPEN,
    "documentation": OPEN,
    "openapi": OPEN,
    "adminListTeams": OPERATOR,
    "adminCreateTeam": only(ADMIN, name="made"),
    "adminGetTeam": OPERATOR,
    "adminChangeTeam": only(ADMIN, rpm=5),
    "adminDrainTeam": OPERATOR,
    "adminUndrainTeam": OPERATOR,
    "adminDeleteTeam": OPERATOR,
    "adminExportTeam": OPERATOR,
    "adminCountRetention": OPERATOR,
    "adminGetPolicy": OPERATOR,
    "adminPutPolicy": only(ADMIN, policy=None),
    "adminListKeys": MANAGER,
    "adminCreateKey": only(ADMIN, MANAGE, scopes=["manage"]),
    "adminGetKey": MANAGER,
    "adminChangeKey": only(ADMIN, MANAGE, rpm=5),
    "adminRotateKey": only(ADMIN, MANAGE, graceS=60),
    "adminRevokeKey": MANAGER,
    "adminListBudgets": OPERATOR,
    "adminPutBudget": only(ADMIN, limit=10),
    "adminDeleteBudget": OPERATOR,
    "adminGetWebhook": MANAGER,
    "adminPutWebhook": only(ADMIN, MANAGE, url="https://hooks.example/torii"),
    "adminRotateWebhookSecret": only(ADMIN, MANAGE, graceS=60),
    "adminListDeliveries": MANAGER,
    "adminGetDelivery": MANAGER,
    "adminReplayDelivery": MANAGER,
    "adminListJobs": OPERATOR,
    "adminGetJob": OPERATOR,
    "adminCancelJob": OPERATOR,
    "adminSettleJob": only(ADMIN, verdict="charged"),
    "adminRequeueJob": OPERATOR,
    "adminEraseJob": OPERATOR,
    "adminListLedger": OPERATOR,
    "adminAdjustLedger": only(ADMIN, team="own", credits=1, reference="r"),
    "adminRefundLedger": only(ADMIN, team="own", credits=1, reference="r"),
    "adminGetUsage": OPERATOR,
    "adminGetCache": MANAGER,
    "adminPurgeCache": only(ADMIN, MANAGE, all=True),
    "adminListAudit": OPERATOR,
    "adminGetUpstream": OPERATOR,
    "adminResumeUpstream": OPERATOR,
    "adminTopupUpstream": only(ADMIN, credits=1),
    "adminListPauses": OPERATOR,
    "adminPause": only(ADMIN, all=True),
    "adminResume": only(ADMIN, all=True),
    "adminListModels": OPERATOR,
    "adminPutPrice": only(ADMIN, credits=2),
    "adminCompareModels": OPERATOR,
}

#: Routes whose good answer has no end.
ENDLESS = frozenset({"watchJob"})
#: What is not there to begin with, such as the upstream itself, or after the first; a good caller is told so too.
ABSENT = frozenset({"adminDeleteBudget", "adminCompareModels", "deleteUpload"})


@dataclass
class World:
    """Two teams with a key of each scope, and what the routes of the one ask for."""

    door: Door
    keys: dict[Scope, dict[str, str]] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)

    async def prepare(self) -> None:
        """Make it all."""
        own, operators = await self.door.team("own"), await self.door.team("operators")
        for scope in Scope:
            _, self.keys[scope] = await self.door.key(operators if scope is ADMIN else own, frozenset({scope}))
        self.own = await self._things("own", self.keys[GENERATE])
        self.own["key"] = (await self.door.key(own, frozenset({MANAGE})))[0].id
        other = await self.door.team("foreign")
        key, headers = await self.door.key(other, frozenset({GENERATE, MANAGE}))
        self.foreign = {**await self._things("foreign", headers), "key": key.id}

    async def _things(self, team: str, headers: dict[str, str]) -> dict[str, str]:
        job: str = (await self.door.run(headers)).json()["jobId"]
        return {
            "team": team,
            "job": job,
            "jobId": job,
            "apiId": "flux-2-max",
            "model": "flux-2-max",
            "resolution": "1 MP",
            "window": "day",
            "imageId": "img_none",
            "ext": "png",
            "token": "none",
            "delivery": await self._delivery(headers),
            "batchId": await self._batch(headers),
            "uploadId": await self._upload(headers),
        }

    async def _upload(self, headers: dict[str, str]) -> str:
        made = await self.door.client.post("/api/v1/uploads", headers=headers, files={"file": picture()})
        return str(made.json()["uploadId"])

    async def _batch(self, headers: dict[str, str]) -> str:
        body = {"model": "flux-2-max", "items": [GOOD]}
        made = await self.door.client.post("/api/v1/batches", headers=headers, json=body)
        return str(made.json()["batchId"])

    async def _delivery(self, headers: dict[str, str]) -> str:
        ended = (await self.door.run(headers, {**GOOD, "webhook_url": "https://hooks.example/"})).json()["jobId"]
        await self.door.client.post(f"/api/v1/jobs/{ended}/cancel", headers=headers)
        rows = await self.door.rows(outbox.deliveries)
        return next(str(row["id"]) for row in rows if row["job_id"] == ended)

    async def ask(
        self, operation: Operation, named: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Ask for the operation about those things."""
        example = EXAMPLES[operation.id]
        needed = {parameter.name for parameter in operation.parameters if parameter.place == "path"}
        path = operation.path.format_map({name: named[name] for name in needed})
        if operation.id in ENDLESS:
            return await self._head(path, headers)
        return await self.door.client.request(operation.method.upper(), path, headers=headers, json=example.body)

    async def _head(self, path: str, headers: Mapping[str, str] | None) -> httpx.Response:
        """The beginning of an answer that goes on for as long as anybody listens; a refusal is read whole."""
        async with (
            httpx.AsyncClient(base_url=self.door.base_url, trust_env=False) as client,
            client.stream("GET", path, headers=headers) as answer,
        ):
            if answer.is_error:
                await answer.aread()
            return answer


@pytest.fixture
async def world(door: Door) -> World:
    """Give two teams and what they have."""
    made = World(door)
    await made.prepare()
    return made


def test_every_route_has_an_example() -> None:
    """Each operation has an entry in the table, and each entry is an operation's."""
    assert {operation.id for operation in operations.OPERATIONS} == EXAMPLES.keys()


@pytest.mark.parametrize("operation", operations.OPERATIONS, ids=lambda operation: operation.id)
async def test_who_may_ask(world: World, operation: Operation) -> None:
    """Without a key a route is a 401, without its scope a 403, and another team's thing is a 404."""
    example = EXAMPLES[operation.id]
    if not example.scopes:
        assert (await world.ask(operation, world.own)).status_code != 401
        return
    nobody = await world.ask(operation, world.own)
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (401, "invalid_api_key")
    for scope in Scope:
        if scope not in example.scopes:
            refused = await world.ask(operation, world.own, world.keys[scope])
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "missing_scope"), scope
    owned = {parameter.name for parameter in operation.parameters if parameter.place == "path"} & OWNED
    for scope in sorted(example.scopes - {ADMIN}):
        if owned:
            missing = await world.ask(operation, world.foreign, world.keys[scope])
            assert missing.status_code == 404, (scope, missing.text)
    for scope in sorted(example.scopes - {ADMIN}) + sorted(example.scopes & {ADMIN}):
        done = await world.ask(operation, world.own, world.keys[scope])
        if operation.id not in ABSENT:
            assert done.status_code < 500, scope
            assert done.status_code not in REFUSED, scope


@pytest.mark.parametrize(
    "operation",
    [operation for operation in operations.OPERATIONS if operation.security == "adminToken"],
    ids=lambda operation: operation.id,
)
async def test_the_operator_may_do_everything(world: World, operation: Operation) -> None:
    """The admin token is let in on each route of the admin surface, about each team's things."""
    for named in (world.own, world.foreign):
        done = await world.ask(operation, named, {"Authorization": f"Bearer {ADMIN_TOKEN}"})
        if operation.id not in ABSENT:
            assert done.status_code < 500, done.text
            assert done.status_code not in REFUSED, done.text
