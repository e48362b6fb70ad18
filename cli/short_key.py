"""A key of a team for one order: made by whoever administers, and revoked as soon as it has done its work.

A job belongs to a key, and the team's budget pays; so an administrator who orders for a team gets one that lives no
longer than the command. One that could not be revoked, because the command was killed, expires by itself.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cli import access, reach, stores
from cli.access import Access
from cli.failures import Failure
from cli.progress import Teller
from gateway import errors
from gateway.clock import rfc3339
from service import admin_deeds, admin_keys

#: Beyond the time that the command may take.
_SPARE: Final = timedelta(minutes=10)
_NAME: Final = "torii generate"


@asynccontextmanager
async def lent(
    team: str, url: str | None, token_file: Path | None, *, for_s: float, teller: Teller
) -> AsyncIterator[Access]:
    """A key of the team, and the gateway that it is for."""
    base = access.address(url) if url is not None else stores.settings().public_url
    expires_at = datetime.now(UTC) + timedelta(seconds=for_s) + _SPARE
    made = await _asked(
        url, token_file, admin_keys.CREATE, {"team": team}, {"name": _NAME, "expiresAt": rfc3339(expires_at)}
    )
    try:
        yield Access(base, made["key"])
    finally:
        try:
            await _asked(url, token_file, admin_keys.REVOKE, {"key": made["id"]}, None)
        except (errors.ToriiError, Failure, OSError) as error:
            teller.say(f"key {made['id']} could not be revoked ({error}); it expires at {rfc3339(expires_at)}")


async def _asked(
    url: str | None,
    token_file: Path | None,
    deed: admin_deeds.Deed,
    path: dict[str, str],
    body: dict[str, Any] | None,
) -> Any:  # noqa: ANN401  JSON
    """One deed, with nothing left open: the wait for a picture is long."""
    async with reach.opened(url, token_file) as way:
        return await way.ask(deed, path, body=body)
