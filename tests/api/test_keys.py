"""Who is let in: every way not to have a key gets one answer, and only the header counts."""

from datetime import UTC, datetime

import httpx
import pytest

from gateway.storage import tables
from gateway.tenancy import keys, keytext
from tests.api.door import ADMIN_TOKEN, GOOD, Door
from tests.support import wait

RUN = "/api/v1/models/flux-2-max/run"


WRONG = (
    None,
    "",
    "Bearer",
    "Bearer torii_",
    "Bearer garbage",
    "Basic dG9yaWk6dG9yaWk=",
    "torii_000000000000_0000000000000000000000000000000000000000000000000",
    f"Bearer {ADMIN_TOKEN}",
    f"Bearer {keytext.mint().reveal()}",
    "Bearer " + "x" * 10_000,
    "Bearer \xff\xfe",
)


async def test_without_a_good_key_nobody_is_let_in(any_door: Door) -> None:
    """A missing, malformed or unknown key is a 401 with `WWW-Authenticate`, before the body is looked at."""
    for authorization in WRONG:
        given = {} if authorization is None else {"Authorization": authorization}
        headers = httpx.Headers(given, encoding="latin-1")
        for method, path in (("POST", RUN), ("GET", "/api/v1/jobs/job_1"), ("POST", "/api/v1/jobs/job_1/cancel")):
            answer = await any_door.client.request(method, path, headers=headers, content=b"no json")
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
            assert answer.json()["error"]["type"] == "authentication_error"
            assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_key_in_the_query_is_no_key(door: Door) -> None:
    """A key in the query string, a cookie or another header is not looked at."""
    headers = await door.caller()
    text = headers["Authorization"].removeprefix("Bearer ")
    for params, other in (
        ({"key": text, "api_key": text, "access_token": text, "Authorization": text}, {}),
        ({}, {"X-Api-Key": text, "Api-Key": text, "Cookie": f"Authorization={text}"}),
    ):
        answer = await door.client.post(RUN, params=params, headers=other, json=GOOD)
        assert answer.status_code == 401
        assert text not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_schemes_case_does_not_matter(door: Door, scheme: str) -> None:
    """The authentication scheme is read without regard to case (RFC 9110 section 11.1)."""
    text = (await door.caller())["Authorization"].removeprefix("Bearer ")
    assert (await door.run({"Authorization": f"{scheme} {text}"})).status_code == 202


async def test_a_key_that_is_over_is_unknown(any_door: Door) -> None:
    """An expired key and a revoked one get the answer of an unknown one, the revoked one within a second."""
    team = await any_door.team("one")
    expired = (await any_door.key(team, expired=True))[1]
    key, headers = await any_door.key(team)
    assert (await any_door.run(expired)).status_code == 401
    assert (await any_door.run(headers)).status_code == 202
    async with any_door.database.write() as tx:
        await keys.revoke(tx, team.id, key.id, datetime.now(UTC))

    async def turned_away() -> bool:
        return (await any_door.client.get("/api/v1/account", headers=headers)).status_code == 401

    await wait.until(turned_away, timeout_s=1.0, what="the key is unknown")
    refused = await any_door.run(headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert refused.json()["detail"] == (await any_door.run(expired)).json()["detail"]
    assert len(await any_door.rows(tables.jobs)) == 1


async def test_a_wrong_secret_is_unknown(door: Door) -> None:
    """A real key's id with another key's secret is a 401."""
    key, headers = await door.key(await door.team("one"))
    text = headers["Authorization"].removeprefix("Bearer ")
    forged = keytext.KeyText(key.id, keytext.mint().secret).reveal()
    assert forged[:18] == text[:18]
    assert (await door.run({"Authorization": f"Bearer {forged}"})).status_code == 401
