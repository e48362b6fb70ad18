"""``torii backup``: one moment of the record into a file, while everything runs; with the pictures, if asked to.

Chooses the file's name and says what is not in it. Overwrites nothing.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli import screen, stores
from cli.screen import AsJson
from gateway import errors
from gateway.archive import aws, bucket
from gateway.archive.bucket import Bucket
from gateway.jobs import picture_stock, safekeeping
from gateway.jobs.picture_stock import Count
from gateway.jobs.safekeeping import Origin
from gateway.settings.values import Settings
from gateway.storage import backup_file
from gateway.storage import stores as house_stores
from gateway.storage.stores import Stores

app = typer.Typer(add_completion=False)

#: The folder beside the files that copies of pictures go to.
PICTURES: Final = "pictures"
_SHOWN: Final = 5


@app.command()
def backup(
    place: Annotated[
        Path, typer.Argument(metavar="DIR|FILE", help="A file that does not exist yet, or a folder for one.")
    ],
    with_pictures: Annotated[
        bool,
        typer.Option(
            "--with-pictures", help="Copy the pictures too, into the folder pictures beside the file; only what is new."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Back the record up into one file, for its owner alone, while the gateway runs. TORII_SECRET_KEY is not in it."""
    told, count = asyncio.run(_back_up(place, with_pictures=with_pictures))
    if as_json:
        screen.write_json({**told, **({} if count is None else {"pictures": shown(count)})})
    else:
        rows = sum(told["rows"].values())
        screen.console().print(
            screen.plain(f"{told['file']}: {rows} rows as of {told['takenAt']}, {told['bytes']} bytes"), soft_wrap=True
        )
        if count is not None:
            say(count, f"{count.copied} of {count.looked_at} pictures copied, the others were there")
        screen.console().print("TORII_SECRET_KEY is not in it: keep that apart, or the keys in it are void")
    if count is not None and not count.whole:
        raise typer.Exit(1)


async def _back_up(place: Path, *, with_pictures: bool) -> tuple[dict[str, Any], Count | None]:
    settings = stores.settings()
    stores.require_file(settings)
    async with house_stores.open(settings) as house:
        await house_stores.answers(house.database)
        path = _path(place, house)
        contents = await safekeeping.back_up(
            house.database, house.clock, path, Origin(metadata.version("torii"), settings.archive_url)
        )
        count = None
        if with_pictures:
            with archive(settings) as source, opened(path.parent / PICTURES) as target:
                count = await picture_stock.copy(house.database, source, target)
    return dict(backup_file.manifest(contents, path)), count


def _path(place: Path, house: Stores) -> Path:
    if place.is_dir():
        place = place / f"torii-{house.clock.now():%Y%m%dT%H%M%SZ}.backup"
    if place.exists():
        raise errors.Conflict(f"{place} exists; a backup overwrites nothing", param="place")
    if not place.absolute().parent.is_dir():
        raise errors.InvalidParameter(f"there is no folder {place.parent}", param="place")
    return place


@contextlib.contextmanager
def archive(settings: Settings) -> Iterator[Bucket]:
    """The gateway's own archive."""
    found = bucket.open(settings.archive_url, aws.access(settings))
    try:
        yield found
    finally:
        found.close()


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Bucket]:
    """A folder with copies of pictures, made for its owner alone if need be."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = bucket.open(str(folder))
    try:
        yield found
    finally:
        found.close()


def shown(count: Count) -> dict[str, Any]:
    """A look at pictures, for programs."""
    return {
        "lookedAt": count.looked_at,
        "copied": count.copied,
        "missing": count.missing,
        "damaged": count.damaged,
    }


def say(count: Count, sentence: str) -> None:
    """A look at pictures, for people: the sentence, and the first of those that are not well."""
    screen.console().print(screen.plain(sentence), soft_wrap=True)
    for name, found in (("missing", count.missing), ("damaged", count.damaged)):
        for key in found[:_SHOWN]:
            screen.console().print(screen.plain(f"  {name}: {key}"), style="red", soft_wrap=True)
        if len(found) > _SHOWN:
            screen.console().print(f"  {name}: {len(found) - _SHOWN} more (--json has them all)", style="red")
