"""What the steps of a job are made with: the other rooms, handed in by ``bootstrap``. Holds; does nothing."""

import asyncio
from dataclasses import dataclass, field

from redis.asyncio import Redis

from gateway.archive.bucket import Bucket
from gateway.clock import Clock
from gateway.images.catalogue import Catalogue
from gateway.jobs.ferry import Ferry
from gateway.jobs.forecasts import Forecasts
from gateway.jobs.library import Library
from gateway.jobs.queue import Queue
from gateway.jobs.respite import Respite
from gateway.jobs.turnstile import Turnstiles
from gateway.reuse.shelf import Shelf
from gateway.settings.keyring import DerivedKey
from gateway.storage.database import Database
from gateway.telemetry import tracing
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Traces
from gateway.upstream.client import Upstream
from gateway.upstream.pacer import Pacer
from gateway.webhooks.addresses import Network
from gateway.webhooks.outbound import Outbound


@dataclass(frozen=True)
class Counter:
    """What accepting and reading jobs needs: the front door's side."""

    database: Database
    catalogue: Catalogue
    queue: Queue
    clock: Clock
    library: Library
    #: Networks that are not public and that webhooks may reach (``TORII_WEBHOOK_ALLOW_NETS``).
    webhook_nets: tuple[Network, ...] = ()
    traces: Traces = tracing.OFF
    #: The upstream can fetch what lies under our own address (``TORII_PUBLIC_URL``), as far as that tells.
    links_reach_upstream: bool = True
    #: What carries orders over that come in one moment; without it each goes by itself, as a command's does.
    ferry: Ferry | None = None


@dataclass(frozen=True)
class Courier:
    """What webhooks are delivered with, in one worker process."""

    outbound: Outbound
    #: What seals the teams' webhook secrets, the current one first.
    seals: tuple[DerivedKey, ...]
    #: How many messages may be on their way at once, and the turn to claim the next one.
    slots: asyncio.Semaphore
    claiming: asyncio.Lock
    public_url: str
    link_key: DerivedKey
    image_url_ttl_s: int


@dataclass(frozen=True)
class Shop:
    """What carrying jobs out needs: the back door's side, in one worker process."""

    worker_id: str
    database: Database
    catalogue: Catalogue
    queue: Queue
    clock: Clock
    redis: Redis
    metrics: Metrics
    upstream: Upstream
    pacer: Pacer
    bucket: Bucket
    shelf: Shelf
    courier: Courier
    #: Jobs in flight upstream across all workers (``TORII_UPSTREAM_CONCURRENCY``).
    concurrency: int
    #: After this long a job whose submission is unknown has been told to its caller (``TORII_UNKNOWN_WAIT_S``).
    unknown_wait_s: int
    #: Nobody else spends from the upstream account (``TORII_UPSTREAM_EXCLUSIVE``).
    exclusive: bool
    #: Where the upstream may call, each attempt's token to follow; none when it is not asked to.
    hook_base: str | None
    traces: Traces = tracing.OFF
    #: The upstream can fetch what lies under our own address (``TORII_PUBLIC_URL``), as far as that tells.
    links_reach_upstream: bool = True
    forecasts: Forecasts = field(default_factory=Forecasts)
    turnstiles: Turnstiles = field(default_factory=Turnstiles)
    archive_respite: Respite = field(default_factory=Respite)
