"""The team and key that a newcomer starts with, made once.

The key's text is kept with the other secrets of ``var/``, so that each start can print it; the store has only its
digest, as with every key.
"""

from cli.house_files import HouseFiles
from gateway import errors
from gateway.settings import keyring
from gateway.storage.stores import Stores
from gateway.tenancy import audit, keys, scopes, teams

TEAM = "default"
_KEPT = "FIRST_TEAM_KEY"


async def key(files: HouseFiles, house: Stores) -> str:
    """The text of a living key of the first team: the kept one, or a new one where that is not known any more."""
    kept = files.read()
    ring = keyring.derive(house.settings.secret_key).api_keys
    now = house.clock.now()
    if _KEPT in kept:
        try:
            await keys.recognise(house.database, kept[_KEPT], ring, now)
        except errors.NotAuthenticated:
            pass  # another database, another secret, or it was revoked
        else:
            return kept[_KEPT]
    async with house.database.write() as tx:
        try:
            team = await teams.find(tx, TEAM)
        except errors.TeamNotFound:
            team = await teams.create(tx, TEAM, now)
            await audit.note(
                tx, actor="up", action="team.create", subject=team.id, team_id=team.id, after={"name": TEAM}, at=now
            )
        made, text = await keys.create(tx, team.id, "first key", scopes.DEFAULT, ring, now)
        await audit.note(
            tx, actor="up", action="key.create", subject=made.id, team_id=team.id, after={"name": made.name}, at=now
        )
    files.write({**kept, _KEPT: text.reveal()})
    return text.reveal()
