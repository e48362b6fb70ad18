"""Requests meant to break something: moments that no calendar of ours has, and names that are not ours to give."""

import base64
import json

from tests.api.door import ADMIN_TOKEN, Door

RUN = "/api/v1/models/flux-2-max/run"
OPERATOR = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
#: Good RFC 3339, and neither has a name in UTC.
BEYOND = ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59")


async def test_a_moment_that_utc_cannot_spell_is_the_askers_mistake(door: Door) -> None:
    """It is a 400 that names the parameter, in a filter, in a body, and in a cursor that was made up."""
    await door.team("own")
    for at in BEYOND:
        await _refused(door, at)


async def _refused(door: Door, at: str) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps([at, "x"]).encode()).decode().rstrip("=")
    for path, params in (
        ("/admin/v1/audit", {"since": at}),
        ("/admin/v1/jobs", {"since": at}),
        ("/admin/v1/ledger", {"until": at}),
        ("/admin/v1/teams/own/keys", {"cursor": cursor}),
        ("/admin/v1/deliveries", {"cursor": cursor}),
    ):
        refused = await door.client.get(path, params=params, headers=OPERATOR)
        assert (refused.status_code, [refused.json()["error"]["param"]]) == (400, list(params)), path
    key = {"name": "k", "scopes": ["read"], "expiresAt": at}
    made = await door.client.post("/admin/v1/teams/own/keys", headers=OPERATOR, json=key)
    assert (made.status_code, made.json()["error"]["param"]) == (400, "expiresAt")


async def test_links_begin_with_our_address_whatever_a_request_says(door: Door) -> None:
    """`Host` and what proxies add decide nothing of the URLs that are handed out."""
    evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example;proto=https"}
    answer = await door.run({**await door.caller(), **evil})
    assert answer.status_code == 202
    assert answer.json()["statusUrl"].startswith(f"{door.base_url}/api/v1/jobs/")
    assert "evil" not in answer.text + str(answer.headers)


async def test_no_page_of_another_origin_is_let_in(door: Door) -> None:
    """An answer grants no origin anything, with or without a key."""
    for headers in ({}, await door.caller()):
        for method, path in (("GET", "/api/v1/models"), ("OPTIONS", RUN), ("POST", RUN), ("GET", "/nowhere")):
            asked = {**headers, "Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
            answer = await door.client.request(method, path, headers=asked)
            assert not [name for name in answer.headers if name.startswith("access-control-")], (method, path)
