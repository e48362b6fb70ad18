"""Taking uploads in: what a key is answered again with, what is nobody's conflict, and what an error does not tell."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import pytest
import sqlalchemy as sa

from gateway import errors
from gateway.jobs import intake
from gateway.jobs.draft import Caller
from gateway.jobs.intake import Intake, Room
from gateway.webhooks.outbound import Outbound
from tests.support.editing import picture
from tests.support.studio import Studio

ROOM: Final = Room(timedelta(days=30), 1 << 30)


async def test_an_upload_that_is_over_is_not_given_again(studio: Studio) -> None:
    """Under the key of an upload whose time is over the same file is a new upload, which holds the key from then on."""
    taking, caller = studio.rig.house.intake, studio.rig.caller
    asked = await intake.ticket("one", picture())
    first = (await taking.take(caller, picture(), "file", asked)).upload
    assert await taking.replayed(caller.team_id, asked) is not None
    await studio.change(first, expires_at=studio.rig.house.clock.now() - timedelta(seconds=1))
    assert await taking.replayed(caller.team_id, asked) is None
    for data in (picture(), picture("blue")):
        asked = await intake.ticket("two" if data != picture() else "one", data)
        made = await taking.take(caller, data, "file", asked)
        assert (made.replayed, made.upload.id == first.id) == (False, False)
        again = await taking.replayed(caller.team_id, asked)
        assert again is not None
        assert again.upload.id == made.upload.id


@pytest.mark.parametrize("brought", [False, True])
async def test_what_is_no_key_in_use_is_no_conflict(studio: Studio, brought: bool) -> None:
    """A row that the database refuses for another reason is not called a request under way, new or named again."""
    nobody = Caller(studio.rig.caller.team_id, "key_of_nobody")
    if brought:
        await studio.bring()
    for asked in (None, await intake.ticket("one", picture())):
        with pytest.raises(sa.exc.IntegrityError):
            await studio.rig.house.intake.take(nobody, picture(), "file", asked)


async def test_a_large_file_is_hashed_beside_the_loop() -> None:
    """While the ticket of a large file is made, the process goes on with others."""
    making = asyncio.create_task(intake.ticket("one", bytes(8 * intake.MAX_BYTES)))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not making.done()
    assert (await making).body_hash


async def test_no_error_tells_which_names_there_are(studio: Studio) -> None:
    """A name of the inner network and a name that does not exist are refused by the same words."""
    house = studio.rig.house

    async def resolve(host: str, port: int) -> Sequence[str]:
        del port
        if host == "inner.example":
            return ["10.0.0.1"]
        raise OSError("no such name")

    outbound = Outbound((), resolve=resolve)
    taking = Intake(house.database, house.bucket, house.clock, outbound, ROOM)
    said = set()
    for host in ("inner.example", "none.example"):
        with pytest.raises(errors.InvalidParameter) as refused:
            await taking.fetch(f"https://{host}/a.png")
        said.add((refused.value.code, refused.value.param, refused.value.message))
    assert len(said) == 1
    await outbound.close()
