"""Sessions of the console: begun by a key or the admin token, held to their own forms, and over when they are over."""

import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import sqlalchemy as sa

from gateway.storage import session_tables
from gateway.storage.valkey import open as open_redis
from gateway.tenancy import keys, sessions
from gateway.tenancy.scopes import Scope
from service.console import paper
from tests.api.door import ADMIN_TOKEN, Door, environment
from tests.support import ports, wait

COOKIE = "torii_session"
#: Each page that needs no session, with how a browser is answered.
SIGN_IN = "/console/sign-in"


def text_of(headers: dict[str, str]) -> str:
    """The key that a header shows."""
    return headers["Authorization"].removeprefix("Bearer ")


def own(door: Door) -> dict[str, str]:
    """What a browser says of a form of our own pages."""
    return {"Origin": door.base_url, "Sec-Fetch-Site": "same-origin"}


async def sign_in(door: Door, credential: str, **more: str) -> httpx.Response:
    """Send the form of the sign-in; the client keeps the cookie."""
    return await door.client.post(SIGN_IN, data={"credential": credential, **more}, headers=own(door))


async def token(door: Door, path: str = "/console") -> str:
    """The token in the forms of a page."""
    found = re.search(r'name="csrf" value="([^"]+)"', (await door.client.get(path)).text)
    assert found is not None
    return found[1]


async def signed_in(door: Door) -> bool:
    """Whether the first page is shown, and not the sign-in."""
    return (await door.client.get("/console")).status_code == 200


async def age(door: Door, **moments: timedelta) -> None:
    """Let time pass for every session."""
    async with door.database.write() as tx:
        for name, by in moments.items():
            await tx.execute(session_tables.sessions.update().values({name: datetime.now(UTC) - by}))


async def test_a_key_and_the_admin_token_sign_in(any_door: Door) -> None:
    """Either credential begins a session; the cookie is for this site's pages alone, and holds neither of them."""
    headers = await any_door.caller("own", *Scope)
    for credential in (text_of(headers), ADMIN_TOKEN):
        answer = await sign_in(any_door, credential)
        assert (answer.status_code, answer.headers["location"]) == (303, "/console")
        said = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Lax", "Path=/console"} <= set(said.split("; "))
        assert credential not in said
        assert await signed_in(any_door)
        assert credential not in (await any_door.client.get("/console")).text
    rows = await any_door.rows(session_tables.sessions)
    assert len(rows) == 1, "signing in anew ends the session before"
    assert any_door.client.cookies[COOKIE].partition(".")[2].encode() not in rows[0]["digest"]


async def test_over_https_the_cookie_is_the_hosts_own(sqlite_url: str, redis_url: str, tmp_path: object) -> None:
    """Where the public URL is https the cookie is secure, and of this very host by its name."""
    environ = environment(sqlite_url, redis_url, f"{tmp_path}/archive", ports.free_one())
    async with Door({**environ, "TORII_PUBLIC_URL": "https://torii.example"}) as door:
        said = (await sign_in(door, ADMIN_TOKEN)).headers["set-cookie"]
        assert said.startswith("__Host-torii=")
        assert {"Secure", "Path=/", "HttpOnly"} <= set(said.split("; "))


@pytest.mark.parametrize("credential", ["", "nonsense", "torii_000000000000_" + "0" * 49, ADMIN_TOKEN[:-1]])
async def test_a_wrong_credential_is_refused(door: Door, credential: str) -> None:
    """What is no living key and no admin token gets the form again, a 401 and no cookie."""
    answer = await sign_in(door, credential)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert 'role="alert"' in answer.text
    assert not await signed_in(door)


async def test_expired_and_revoked_keys_do_not_sign_in(door: Door) -> None:
    """A key that is over begins no session."""
    team = await door.team("own")
    _, expired = await door.key(team, expired=True)
    assert (await sign_in(door, text_of(expired))).status_code == 401
    key, revoked = await door.key(team)
    async with door.database.write() as tx:
        await keys.revoke(tx, team.id, key.id, datetime.now(UTC))
    assert (await sign_in(door, text_of(revoked))).status_code == 401


async def test_wrong_credentials_are_slowed_by_address(door: Door) -> None:
    """After some wrong credentials of one address, be they keys or not, each further one takes longer."""
    for _ in range(20):
        await sign_in(door, "a guess at the admin token")
    slow = await sign_in(door, "a guess at the admin token")
    for _ in range(4):
        slow = await sign_in(door, "a guess at the admin token")
    assert slow.elapsed > timedelta(seconds=0.4)
    assert (await sign_in(door, ADMIN_TOKEN)).elapsed < slow.elapsed


async def test_a_session_ends_with_its_key(any_door: Door) -> None:
    """Within a second of its key's revocation a session is over, whatever its browser keeps."""
    team = await any_door.team("own")
    key, headers = await any_door.key(team)
    await sign_in(any_door, text_of(headers))
    assert await signed_in(any_door)
    async with any_door.database.write() as tx:
        await keys.revoke(tx, team.id, key.id, datetime.now(UTC))

    async def over() -> bool:
        return not await signed_in(any_door)

    await wait.until(over, timeout_s=1.5, what="the session has ended")


async def test_a_session_ends_with_the_admin_token(sqlite_url: str, redis_url: str, tmp_path: object) -> None:
    """An operator's session is over once its admin token is none any more, and lives on while it is rotated."""
    environ = environment(sqlite_url, redis_url, f"{tmp_path}/archive", ports.free_one())
    other = "other-" + "t" * 40
    async with Door(environ) as door:
        await sign_in(door, ADMIN_TOKEN)
        cookie = door.client.cookies[COOKIE]
    for tokens, lives in ((f"{other},{ADMIN_TOKEN}", True), (other, False)):
        async with Door({**environ, "TORII_ADMIN_TOKEN": tokens, "TORII_PORT": str(ports.free_one())}) as door:
            door.client.cookies.set(COOKIE, cookie)
            assert await signed_in(door) is lives


async def test_a_session_outlives_a_rotation_of_the_secret(sqlite_url: str, redis_url: str, tmp_path: object) -> None:
    """While the secret that a session was begun under is in the list it is good, and not after."""
    environ = environment(sqlite_url, redis_url, f"{tmp_path}/archive", ports.free_one())
    old, new = environ["TORII_SECRET_KEY"], "n3w-" + "k" * 40
    async with Door(environ) as door:
        await sign_in(door, ADMIN_TOKEN)
        cookie = door.client.cookies[COOKIE]
    for secrets, lives in ((f"{new},{old}", True), (new, False)):
        async with Door({**environ, "TORII_SECRET_KEY": secrets, "TORII_PORT": str(ports.free_one())}) as door:
            door.client.cookies.set(COOKIE, cookie)
            assert await signed_in(door) is lives


@pytest.mark.parametrize("aged", [{"seen_at": sessions.IDLE}, {"expires_at": timedelta()}])
async def test_a_session_ends_with_its_time(door: Door, aged: dict[str, timedelta]) -> None:
    """A session that nobody used for long, or that began long ago, is over; the next sign-in sweeps it out."""
    await sign_in(door, ADMIN_TOKEN)
    await age(door, **aged)
    assert not await signed_in(door)
    door.client.cookies.clear()
    await sign_in(door, ADMIN_TOKEN)
    assert len(await door.rows(session_tables.sessions)) == 1


async def test_use_keeps_a_session_awake(door: Door) -> None:
    """A session that is used is noted as used, to the minute, and its end stays where it was."""
    await sign_in(door, ADMIN_TOKEN)
    before = (await door.rows(session_tables.sessions))[0]
    await age(door, seen_at=sessions.SEEN_STEP * 2)
    assert await signed_in(door)
    after = (await door.rows(session_tables.sessions))[0]
    assert datetime.now(UTC) - after["seen_at"] < sessions.SEEN_STEP
    assert after["expires_at"] == before["expires_at"]


async def test_a_page_left_open_keeps_no_session_awake(door: Door) -> None:
    """What a page asks by itself is answered, and is no use of the session: it ends as if nobody were there."""
    await sign_in(door, ADMIN_TOKEN)
    await age(door, seen_at=sessions.IDLE - timedelta(seconds=30))
    before = (await door.rows(session_tables.sessions))[0]["seen_at"]
    assert (await door.client.get("/console/queue", headers={"HX-Request": "true"})).status_code == 200
    assert (await door.rows(session_tables.sessions))[0]["seen_at"] == before


async def test_signing_out_ends_it_everywhere(door: Door) -> None:
    """After signing out the cookie is good for nothing, even if somebody kept it."""
    await sign_in(door, ADMIN_TOKEN)
    cookie = door.client.cookies[COOKIE]
    answer = await door.client.post("/console/sign-out", data={"csrf": await token(door)}, headers=own(door))
    assert (answer.status_code, answer.headers["location"]) == (303, SIGN_IN)
    assert "Max-Age=0" in answer.headers["set-cookie"]
    door.client.cookies.set(COOKIE, cookie)
    assert not await signed_in(door)


@pytest.mark.parametrize(
    ("headers", "form"),
    [
        ({}, {}),
        ({"Origin": "https://evil.example"}, {}),
        ({"Origin": "null"}, {}),
        ({"Sec-Fetch-Site": "cross-site"}, {}),
        ({"Sec-Fetch-Site": "same-site", "Origin": "OWN"}, {}),
        ({"Origin": "OWN"}, {"csrf": ""}),
        ({"Origin": "OWN"}, {"csrf": "made-up"}),
    ],
)
async def test_a_form_of_another_site_changes_nothing(
    door: Door, headers: dict[str, str], form: dict[str, str]
) -> None:
    """A form without this session's token, or that another site had a browser send, is refused and changes nothing."""
    await sign_in(door, ADMIN_TOKEN)
    sent = {name: door.base_url if value == "OWN" else value for name, value in headers.items()}
    body = {"name": "made", "csrf": await token(door), **form}
    answer = await door.client.post("/console/teams/make", data=body, headers=sent)
    assert answer.status_code == 403
    listed = await door.client.get("/admin/v1/teams", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert listed.json()["teams"] == []


async def test_the_token_is_the_sessions_own(door: Door) -> None:
    """The token of one session opens no form of another."""
    await sign_in(door, ADMIN_TOKEN)
    first = await token(door)
    door.client.cookies.clear()
    await sign_in(door, ADMIN_TOKEN)
    assert await token(door) != first
    answer = await door.client.post("/console/teams/make", data={"name": "made", "csrf": first}, headers=own(door))
    assert answer.status_code == 403


async def test_signing_in_takes_a_form_of_our_own_alone(door: Door) -> None:
    """Nobody is signed in by another site, as somebody else."""
    answer = await door.client.post(
        SIGN_IN, data={"credential": ADMIN_TOKEN}, headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "led_to"),
    [
        ("/console/jobs?state=failed", "/console/jobs?state=failed"),
        ("/console/keys", "/console/keys"),
        ("https://evil.example/console", "/console"),
        ("//evil.example/console", "/console"),
        ("/console//evil.example", "/console"),
        ("/console\\evil", "/console"),
        ("/consoled", "/console"),
        ("/console/../admin", "/console/../admin"),
        ("/console/\r\nX: y", "/console"),
        ("javascript:alert(1)", "/console"),
    ],
)
async def test_one_comes_back_to_the_console_alone(door: Door, asked: str, led_to: str) -> None:
    """After signing in one is where one wanted to be, if that is a page of the console, and never on another site."""
    answer = await sign_in(door, ADMIN_TOKEN, next=asked)
    assert answer.headers["location"] == led_to


async def test_whoever_is_not_signed_in_is_sent_to_sign_in(door: Door) -> None:
    """A page leads to the sign-in and knows the way back; a part of a page has the whole page go there."""
    page = await door.client.get("/console/jobs?state=failed")
    assert (page.status_code, page.headers["location"]) == (
        303,
        "/console/sign-in?next=%2Fconsole%2Fjobs%3Fstate%3Dfailed",
    )
    part = await door.client.get(
        "/console/jobs/job_1/progress",
        headers={"HX-Request": "true", "HX-Current-URL": f"{door.base_url}/console/keys"},
    )
    assert (part.status_code, part.headers["hx-redirect"]) == (401, "/console/sign-in?next=%2Fconsole%2Fkeys")


async def test_every_page_is_under_the_policy(door: Door) -> None:
    """Pages, errors and the sign-in may run and load our own files alone, and stand in nobody's frame."""
    await sign_in(door, ADMIN_TOKEN)
    for path in ("/console", SIGN_IN, "/console/nothing", "/console/jobs/none", "/console/teams/none"):
        answer = await door.client.get(path)
        assert answer.headers["content-security-policy"] == paper.POLICY, path
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"


async def test_an_error_is_a_page(door: Door) -> None:
    """What went wrong is told as a page with the request's id, and to htmx as a notice with a place of its own."""
    await sign_in(door, ADMIN_TOKEN)
    page = await door.client.get("/console/teams/none", headers={"X-Request-ID": "shown-1"})
    assert (page.status_code, "shown-1" in page.text, "<h1>" in page.text) == (404, True, True)
    part = await door.client.get("/console/teams/none", headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["hx-retarget"]) == (404, "#notices")
    assert "<html" not in part.text
    wrong_way = await door.client.put("/console/teams")
    assert (wrong_way.status_code, "text/html" in wrong_way.headers["content-type"]) == (405, True)
    elsewhere = await door.client.get("/nothing")
    assert elsewhere.headers["content-type"] == "application/problem+json"


async def test_without_the_database_a_page_says_so(sqlite_url: str, redis_url: str, tmp_path: object) -> None:
    """A store that does not answer is a page with 503 and when to come back, and signs nobody out."""
    async with Door(environment(sqlite_url, redis_url, f"{tmp_path}/archive", ports.free_one())) as door:
        await sign_in(door, ADMIN_TOKEN)
        async with door.database.write() as tx:
            await tx.execute(sa.text("ALTER TABLE sessions RENAME TO gone"))
        broken = await door.client.get("/console")
        assert broken.status_code >= 500
        assert "text/html" in broken.headers["content-type"]
        assert "set-cookie" not in broken.headers
        async with door.database.write() as tx:
            await tx.execute(sa.text("ALTER TABLE gone RENAME TO sessions"))
        assert await signed_in(door)


async def test_without_redis_everybody_stays_signed_in(door: Door, redis_url: str) -> None:
    """Sessions are nothing of Redis: after a flush each one is good."""
    await sign_in(door, ADMIN_TOKEN)
    redis = open_redis(redis_url)
    try:
        await redis.flushall()
    finally:
        await redis.aclose()
    assert await signed_in(door)


async def test_assets_are_kept_for_good(door: Door) -> None:
    """Styles and scripts come from here, are named by what is in them, and a made-up name is a 404."""
    page = (await door.client.get(SIGN_IN)).text
    found = re.findall(r'(?:href|src)="(/console/assets/[^"]+)"', page)
    assert len(found) == 4
    for path in found:
        answer = await door.client.get(path)
        assert (answer.status_code, "immutable" in answer.headers["cache-control"]) == (200, True)
    assert (await door.client.get("/console/assets/0000000000000000/console.css")).status_code == 404
    assert "://" not in re.sub(r"xmlns=\"[^\"]+\"|http-equiv", "", page)
