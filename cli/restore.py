"""``torii restore``: a backup into an empty place, or the record made safe where a failover lost commits.

Says what became of jobs that may have been paid for since, which pictures are missing, and what is left to do. Starts
nothing, and empties no Redis: whose it is, it cannot know.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from redis.exceptions import RedisError

from cli import backup as backups
from cli import screen, stores
from cli.reach import user
from cli.screen import AsJson
from gateway import errors
from gateway.clock import rfc3339
from gateway.jobs import picture_stock, safekeeping
from gateway.jobs.picture_stock import Count
from gateway.jobs.rescue import Doubts
from gateway.jobs.safekeeping import Plan, Restored
from gateway.settings import keyring
from gateway.settings.values import Settings
from gateway.storage import backup_file, keyspace, valkey
from gateway.storage import stores as house_stores
from gateway.storage.backup_file import Contents
from gateway.storage.stores import Stores

app = typer.Typer(add_completion=False)

#: So many of the newest pictures are read when not all are to be.
_SAMPLE: Final = 100


@dataclass(frozen=True)
class Wish:
    """What was asked for."""

    file: Path
    nothing_ran_since: bool
    stopped_at: str | None
    with_void_keys: bool
    with_pictures: bool
    verify: bool


@app.command()
def restore(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="What `torii backup` made.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read the whole file, say what is in it, and change nothing.")
    ] = False,
    after_failover: Annotated[
        bool,
        typer.Option(
            "--after-failover", help="No file: put in doubt what a failover of the database may have lost, in place."
        ),
    ] = False,
    lost_since: Annotated[
        str | None,
        typer.Option(
            help="With --after-failover: when the first lost commit was made. Else the last beat of a worker counts.",
            metavar="TIME",
        ),
    ] = None,
    nothing_ran_since: Annotated[
        bool,
        typer.Option(
            "--nothing-ran-since", help="No worker ran after the backup was made, so what is queued was not sent."
        ),
    ] = False,
    stopped_at: Annotated[
        str | None,
        typer.Option(
            help="When the last worker of before had surely ended, such as 2026-11-23T16:00:00Z; else now.",
            metavar="TIME",
        ),
    ] = None,
    with_void_keys: Annotated[
        bool,
        typer.Option("--with-void-keys", help="Go on although TORII_SECRET_KEY is not the one of the backup."),
    ] = False,
    with_pictures: Annotated[
        bool,
        typer.Option("--with-pictures", help="Bring back missing pictures from the folder pictures beside the file."),
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every picture that the record names, not only the newest.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Restore the record into an empty database, before any process of Torii starts. Nothing is paid twice by it."""
    if after_failover:
        _only(file is None and not (check or nothing_ran_since or stopped_at or with_void_keys or with_pictures))
        asyncio.run(_after_failover(lost_since, as_json=as_json))
        return
    if file is None:
        raise errors.InvalidParameter("name the file that `torii backup` made", param="file")
    _only(lost_since is None)
    wish = Wish(file, nothing_ran_since, stopped_at, with_void_keys, with_pictures, verify)
    if nothing_ran_since and stopped_at is not None:
        raise errors.InvalidParameter("--nothing-ran-since and --stopped-at exclude each other", param="stopped_at")
    contents = backup_file.verify(file)
    if check:
        _tell_contents(contents, file, as_json=as_json)
        return
    asyncio.run(_restore(wish, contents, as_json=as_json))


def _only(fits: bool) -> None:
    if not fits:
        raise errors.InvalidParameter(
            "--after-failover goes with --lost-since and --json alone", param="after_failover"
        )


def _tell_contents(contents: Contents, file: Path, *, as_json: bool) -> None:
    told = backup_file.manifest(contents, file)
    if as_json:
        screen.write_json(told)
        return
    head = contents.header
    screen.facts(
        {
            "taken at": rfc3339(head.taken_at),
            "by": f"torii {head.version}, schema of release {head.schema_release}, from {head.dialect}",
            "pictures": head.archive,
            "rows": ", ".join(f"{count} {name}" for name, count in contents.trailer.rows.items() if count),
            "sha256": contents.trailer.sha256,
        }
    )


async def _restore(wish: Wish, contents: Contents, *, as_json: bool) -> None:
    settings = stores.settings()
    async with house_stores.open(settings) as house:
        await house_stores.answers(house.database)
        await _require_quiet(settings)
        plan = Plan(
            path=wish.file,
            contents=contents,
            stopped_at=_stopped_at(wish, contents, house.clock.now()),
            with_void_keys=wish.with_void_keys,
            actor=f"cli:{user()}",
        )
        done = await safekeeping.restore(house.database, house.clock, keyring.derive(settings.secret_key), plan)
        try:
            brought, seen = await _pictures(house, wish)
        except errors.ArchiveUnavailable as error:
            why = "; ".join([error.message, *getattr(error, "__notes__", ())])
            raise errors.ArchiveUnavailable(
                f"the record is restored, but the archive was not looked at: {why}"
            ) from None
    redis = await _in_redis(settings)
    if as_json:
        screen.write_json(_shown(done, contents, brought, seen, redis))
    else:
        _tell(done, contents, brought, seen, redis)
    if not seen.whole or done.wrong_balances:
        raise typer.Exit(1)


async def _pictures(house: Stores, wish: Wish) -> tuple[Count | None, Count]:
    with backups.archive(house.settings) as archive:
        brought = None
        if wish.with_pictures:
            with backups.opened(wish.file.parent / backups.PICTURES) as source:
                brought = await picture_stock.copy(house.database, source, archive)
        return brought, await picture_stock.verify(house.database, archive, None if wish.verify else _SAMPLE)


def _stopped_at(wish: Wish, contents: Contents, now: datetime) -> datetime | None:
    if wish.nothing_ran_since:
        return None
    at = _moment(wish.stopped_at, "stopped_at") or now
    if not contents.header.taken_at <= at <= now:
        raise errors.InvalidParameter(
            f"--stopped-at: a moment between the backup ({rfc3339(contents.header.taken_at)}) and now",
            param="stopped_at",
        )
    return at


def _moment(text: str | None, param: str) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        option = param.replace("_", "-")
        raise errors.InvalidParameter(f"--{option}: not a moment such as 2026-11-23T16:00:00Z", param=param)
    return at


async def _require_quiet(settings: Settings) -> None:
    """Refuse while a worker of before lives: its Redis has its pulse for some seconds."""
    if await _asked(settings, keyspace.QUEUE_HEALTH):
        raise errors.Conflict(
            "a worker is alive, or was a moment ago: its pulse is in TORII_REDIS_URL; stop every worker first",
            param="workers",
        )


async def _in_redis(settings: Settings) -> bool | None:
    """Whether the Redis holds anything of a gateway; none where it cannot be asked."""
    return await _asked(settings, None)


async def _asked(settings: Settings, key: str | None) -> bool | None:
    if settings.redis_url is None:
        return None
    redis = valkey.open(settings.reveal("redis_url"))
    try:
        if key is not None:
            return bool(await redis.exists(key))
        return bool([key async for key in redis.scan_iter(match=keyspace.PREFIX + "*", count=1000)])
    except (RedisError, OSError):
        return None
    finally:
        await redis.aclose()


def _shown(
    done: Restored, contents: Contents, brought: Count | None, seen: Count, redis: bool | None
) -> dict[str, Any]:
    return {
        "takenAt": rfc3339(contents.header.taken_at),
        "rows": contents.trailer.rows,
        "inDoubt": _doubts(done.doubts),
        "wrongBalances": done.wrong_balances,
        "voidKeys": done.secrets.void_keys,
        "sealedSecrets": done.secrets.sealed,
        "broughtBack": None if brought is None else backups.shown(brought),
        "pictures": backups.shown(seen),
        "redisHoldsKeys": redis,
    }


def _doubts(doubts: Doubts) -> dict[str, int]:
    return {"queued": doubts.queued, "submitting": doubts.submitting, "unknown": doubts.unknown}


def _tell(done: Restored, contents: Contents, brought: Count | None, seen: Count, redis: bool | None) -> None:
    console = screen.console()
    rows = sum(contents.trailer.rows.values())
    console.print(f"{rows} rows restored, as of {rfc3339(contents.header.taken_at)}", soft_wrap=True)
    _tell_doubts(done.doubts)
    if done.wrong_balances:
        console.print(f"{done.wrong_balances} balances are not the sum of their entries: torii doctor", style="red")
    if done.secrets.void_keys or done.secrets.sealed:
        console.print(
            f"{done.secrets.void_keys} API keys are void, {done.secrets.sealed} webhook secrets cannot be opened",
            style="red",
        )
    if brought is not None:
        backups.say(brought, f"{brought.copied} pictures brought back")
    bad = len(seen.missing) + len(seen.damaged)
    backups.say(seen, f"{seen.looked_at} pictures read, {bad} of them missing or damaged")
    console.print("keys and sessions are as they were then: revoke again what was revoked since", soft_wrap=True)
    if redis is not False:
        console.print(
            "before anything starts: empty the Redis (FLUSHALL), or name a new one in TORII_REDIS_URL",
            style="yellow",
            soft_wrap=True,
        )


def _tell_doubts(doubts: Doubts) -> None:
    screen.console().print(
        f"{doubts.total} jobs may have been paid for since, and are submission_unknown: {doubts.queued} were queued, "
        f"{doubts.submitting} submitting, {doubts.unknown} unknown already",
        soft_wrap=True,
    )


async def _after_failover(lost_since: str | None, *, as_json: bool) -> None:
    since = _moment(lost_since, "lost_since")
    async with stores.opened() as house:
        if since is not None and since > house.clock.now():
            raise errors.InvalidParameter("--lost-since: a moment that is over", param="lost_since")
        await _require_quiet(house.settings)
        found, doubts = await safekeeping.after_failover(house.database, house.clock, since, f"cli:{user()}")
    if as_json:
        screen.write_json({"lostSince": rfc3339(found), "inDoubt": _doubts(doubts)})
        return
    screen.console().print(f"commits since {rfc3339(found)} count as lost", soft_wrap=True)
    _tell_doubts(doubts)
    screen.console().print("before a worker starts: empty the Redis (FLUSHALL)", style="yellow")
