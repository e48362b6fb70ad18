"""What ``torii doctor`` looks at, part by part. Each check asks one part and says what it found; none changes anything.

The archive's check writes and deletes a tiny object of its own.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import sqlalchemy as sa
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from cli import house_files, stores
from gateway import errors, money
from gateway.archive import aws, bucket
from gateway.clock import rfc3339
from gateway.jobs import liveness
from gateway.ledger import proof
from gateway.settings import keyring, values
from gateway.settings.values import Settings
from gateway.storage import schema, tables, valkey
from gateway.storage import stores as house_stores
from gateway.storage.stores import Stores
from gateway.tenancy import keys
from gateway.upstream import hosts
from gateway.webhooks import team_secrets

#: A collector that takes longer to be reached is not there.
_COLLECTOR_S: Final = 2.0
_PORTS: Final = MappingProxyType({"http": 80, "https": 443})


class Health(StrEnum):
    """How a part is."""

    OK = "ok"
    #: It works, and should still be looked at.
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    part: str
    health: Health
    says: str


async def everything() -> list[Finding]:
    """All checks, in the order in which parts rest on each other."""
    try:
        settings = stores.settings()
    except errors.SettingError as error:
        return [Finding("settings", Health.BROKEN, error.message)]
    findings = [_settings(settings)]
    async with house_stores.open(settings) as house:
        for part, check in _CHECKS:
            try:
                found = await check(house)
            except errors.ToriiError as error:
                why = "; ".join([error.message, *getattr(error, "__notes__", ())])
                found = Finding(part, Health.BROKEN, why)
            findings.append(found)
            if part == "database" and found.health is Health.BROKEN:
                # What rests on SQL would only say the same again.
                return [*findings, *[await _lone(house, part) for part in ("redis", "archive")]]
    return findings


async def _lone(house: Stores, part: str) -> Finding:
    try:
        return await dict(_CHECKS)[part](house)
    except errors.ToriiError as error:
        return Finding(part, Health.BROKEN, error.message)


def _settings(settings: Settings) -> Finding:
    suspects = values.unknown(house_files.environment(os.environ))
    if suspects:
        says = "; ".join(f"{name} is not a setting, {meant} is" for name, meant in suspects)
        return Finding("settings", Health.WARNING, says)
    if settings.upstream_webhooks and hosts.loopback(urlsplit(settings.public_url).hostname or ""):
        says = f"TORII_UPSTREAM_WEBHOOKS: the upstream cannot call {settings.public_url}; set TORII_PUBLIC_URL"
        return Finding("settings", Health.WARNING, says)
    return Finding("settings", Health.OK, "read")


async def _database(house: Stores) -> Finding:
    stores.require_file(house.settings)
    await house_stores.reach(house.database)
    if await schema.pending(house.database):
        return Finding("database", Health.WARNING, "reachable; there are migrations to run: torii migrate")
    return Finding("database", Health.OK, f"{house.database.dialect}, schema of release {schema.RELEASE}")


async def _ledger(house: Stores) -> Finding:
    async with house.database.read() as connection:
        wrong = await proof.differences(connection)
    if not wrong:
        return Finding("ledger", Health.OK, "every balance is the sum of its entries")
    first = wrong[0]
    says = (
        f"{len(wrong)} balances differ from their entries; first: team {first.team_id} {first.period} {first.column} "
        f"is {money.credits(first.balance_micros)}, its entries say {money.credits(first.entries_micros)}"
    )
    return Finding("ledger", Health.BROKEN, says)


async def _keys(house: Stores) -> Finding:
    ring = keyring.derive(house.settings.secret_key).api_keys
    async with house.database.read() as connection:
        older = await keys.under_older_secrets(connection, ring)
    if older:
        says = f"{older} living keys were not made under the current TORII_SECRET_KEY; keep the older ones in its list"
        return Finding("keys", Health.WARNING, says)
    return Finding("keys", Health.OK, "all under the current secret")


async def _webhooks(house: Stores) -> Finding:
    ring = keyring.derive(house.settings.secret_key).webhook_secrets
    async with house.database.read() as connection:
        lost = await team_secrets.lost(connection, ring)
        older = await team_secrets.under_older_secrets(connection, ring)
    if lost:
        says = (
            f"{lost} webhook secrets were sealed under a TORII_SECRET_KEY that is not in its list any more; "
            "put it back, or have those teams rotate: torii webhooks rotate-secret TEAM"
        )
        return Finding("webhooks", Health.BROKEN, says)
    if older:
        says = f"{older} webhook secrets are sealed under an older TORII_SECRET_KEY; the workers seal them anew"
        return Finding("webhooks", Health.WARNING, says)
    return Finding("webhooks", Health.OK, "all secrets under the current one")


async def _redis(house: Stores) -> Finding:
    redis = valkey.open(house.settings.reveal("redis_url"))
    try:
        await redis.ping()
        policy = await _policy(redis)
    except (RedisError, OSError) as error:
        return Finding("redis", Health.BROKEN, f"TORII_REDIS_URL: no answer ({type(error).__name__})")
    finally:
        await redis.aclose()
    if policy not in ("noeviction", None):
        says = f"reachable; set maxmemory-policy to noeviction, or a full Redis throws nudges away (it is {policy})"
        return Finding("redis", Health.WARNING, says)
    return Finding("redis", Health.OK, "reachable")


async def _policy(redis: Redis) -> str | None:
    try:
        told: dict[str, str] = await redis.config_get("maxmemory-policy")
    except ResponseError:
        return None  # hosted servers do not tell
    return told.get("maxmemory-policy")


async def _archive(house: Stores) -> Finding:
    opened = bucket.open(house.settings.archive_url, aws.access(house.settings))
    try:
        await opened.check()
    finally:
        opened.close()
    return Finding("archive", Health.OK, f"{house.settings.archive_url}: written, read and deleted")


async def _workers(house: Stores) -> Finding:
    since = house.clock.now() - timedelta(seconds=liveness.DEAD_AFTER_S)
    async with house.database.read() as connection:
        worker = tables.workers
        alive = (
            await connection.execute(sa.select(sa.func.count()).select_from(worker).where(worker.c.beat_at >= since))
        ).scalar_one()
    if not alive:
        return Finding("workers", Health.BROKEN, "none is alive, so no job is carried out; start one with: torii work")
    return Finding("workers", Health.OK, f"{alive} alive")


async def _upstream(house: Stores) -> Finding:
    async with house.database.read() as connection:
        account = (await connection.execute(sa.select(tables.upstream_account))).one()
    now = house.clock.now()
    if _later(account.paused_until, now):
        says = f"submitting rests until {rfc3339(account.paused_until)}: {account.pause_reason}"
        return Finding("upstream", Health.WARNING, says)
    if _later(account.breaker_until, now) or account.breaker_failures:
        says = f"its last {account.breaker_failures} answers were lost or it could not be reached"
        return Finding("upstream", Health.WARNING, says)
    if account.remaining_micros is None:
        return Finding("upstream", Health.OK, "not asked yet")
    seen_at = f", seen {rfc3339(account.remaining_seen_at)}" if account.remaining_seen_at else ""
    return Finding("upstream", Health.OK, f"{money.credits(account.remaining_micros)} credits left{seen_at}")


async def _traces(house: Stores) -> Finding:
    url = house.settings.traces_url
    if url is None:
        return Finding("traces", Health.OK, "off; OTEL_EXPORTER_OTLP_ENDPOINT turns them on")
    place = urlsplit(url)
    try:
        async with asyncio.timeout(_COLLECTOR_S):
            _, writer = await asyncio.open_connection(place.hostname, place.port or _PORTS[place.scheme])
    except (OSError, TimeoutError) as error:
        # Jobs go on without; only their traces are lost.
        return Finding("traces", Health.WARNING, f"on, and nobody listens at {url} ({type(error).__name__})")
    writer.close()
    return Finding("traces", Health.OK, f"on: sent to {url}")


def _later(at: datetime | None, now: datetime) -> bool:
    return at is not None and at > now


_CHECKS: Final[tuple[tuple[str, Callable[[Stores], Awaitable[Finding]]], ...]] = (
    ("database", _database),
    ("ledger", _ledger),
    ("keys", _keys),
    ("webhooks", _webhooks),
    ("redis", _redis),
    ("archive", _archive),
    ("workers", _workers),
    ("upstream", _upstream),
    ("traces", _traces),
)
