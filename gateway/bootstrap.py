"""Where the rooms meet: builds a whole gateway from its settings. The only module that knows everyone.

Opens nothing that it does not hand out, and connects lazily: an unreachable store shows when it is first asked.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import metadata

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from gateway import errors, ids
from gateway.admission.policy import Policies
from gateway.admission.rate import GenerationRate
from gateway.archive import aws, bucket
from gateway.archive.bucket import Bucket
from gateway.clock import Clock, SystemClock
from gateway.images import catalogue
from gateway.images.catalogue import Catalogue
from gateway.jobs import delivery, queue, tries
from gateway.jobs.gate import Gate
from gateway.jobs.parts import Counter, Courier, Shop
from gateway.jobs.view import Frame
from gateway.settings import keyring
from gateway.settings.keyring import Keyring
from gateway.settings.values import Settings
from gateway.storage import stores, valkey
from gateway.storage.database import Database
from gateway.telemetry import metrics
from gateway.telemetry.metrics import Metrics
from gateway.tenancy.recognition import Recogniser
from gateway.upstream.client import Address, Upstream
from gateway.upstream.pacer import Listener, Pacer
from gateway.webhooks.outbound import Outbound


@dataclass(frozen=True)
class House:
    """What both doors share."""

    settings: Settings
    keys: Keyring
    database: Database
    redis: Redis
    bucket: Bucket
    catalogue: Catalogue
    clock: Clock
    registry: CollectorRegistry
    metrics: Metrics
    queue: queue.Queue
    gate: Gate
    recogniser: Recogniser
    outbound: Outbound

    @property
    def counter(self) -> Counter:
        """What accepting and reading jobs needs."""
        return Counter(
            self.database, self.catalogue, self.queue, self.clock, webhook_nets=self.settings.webhook_allow_nets
        )

    @property
    def frame(self) -> Frame:
        """What every view of a job shares."""
        return Frame(
            public_url=self.settings.public_url,
            link_key=self.keys.image_links[0],
            image_url_ttl_s=self.settings.image_url_ttl_s,
            unknown_wait_s=self.settings.unknown_wait_s,
        )


@asynccontextmanager
async def house(settings: Settings) -> AsyncIterator[House]:
    """A whole gateway, closed at the end.

    Raises ``SettingError`` (which names the variable) when the catalogue is wrong, the database cannot be reached, or
    its schema is not one that this release works with. Redis and the archive may come later.
    """
    ring = keyring.derive(settings.secret_key)
    registry = CollectorRegistry()
    opened = stores.open_database(settings)
    redis = valkey.open(settings.reveal("redis_url"))
    objects: Bucket | None = None
    outbound = Outbound(settings.webhook_allow_nets)
    recogniser = Recogniser(opened, ring.api_keys, SystemClock())
    try:
        models = catalogue.load(settings.catalogue)
        objects = _bucket(settings)
        await stores.reach(opened)
        yield House(
            settings=settings,
            keys=ring,
            database=opened,
            redis=redis,
            bucket=objects,
            catalogue=models,
            clock=SystemClock(),
            registry=registry,
            metrics=metrics.declare(registry, metadata.version("torii")),
            queue=queue.open(redis),
            gate=Gate(opened, SystemClock(), GenerationRate(redis), Policies(), outbound),
            recogniser=recogniser,
            outbound=outbound,
        )
    finally:
        await recogniser.close()
        await outbound.close()
        if objects is not None:
            objects.close()
        await redis.aclose()
        await opened.close()


def _bucket(settings: Settings) -> Bucket:
    try:
        return bucket.open(settings.archive_url, aws.access(settings))
    except errors.ArchiveUnavailable as error:
        raise errors.SettingError(
            "TORII_ARCHIVE_URL: the archive's folder cannot be made or written", param="TORII_ARCHIVE_URL"
        ) from error


@asynccontextmanager
async def shop(built: House) -> AsyncIterator[Shop]:
    """What one worker process carries jobs out with; its upstream connections are closed at the end."""
    settings = built.settings
    pacer = Pacer(built.redis, settings.upstream_rpm)
    upstream = Upstream(
        Address(settings.pixeldojo_api_base, settings.result_hosts),
        settings.reveal("pixeldojo_api_key"),
        built.metrics,
        built.clock,
        Listener(pacer, built.clock).hear,
    )
    try:
        yield Shop(
            worker_id=ids.worker(),
            database=built.database,
            catalogue=built.catalogue,
            queue=built.queue,
            clock=built.clock,
            metrics=built.metrics,
            upstream=upstream,
            pacer=pacer,
            bucket=built.bucket,
            courier=_courier(built),
            concurrency=settings.upstream_concurrency,
            unknown_wait_s=settings.unknown_wait_s,
            exclusive=settings.upstream_exclusive,
            hook_base=f"{settings.public_url}/hooks/upstream" if settings.upstream_webhooks else None,
        )
    finally:
        await upstream.close()


def _courier(built: House) -> Courier:
    for outcome in (*tries.Outcome, tries.DEAD):
        # There from the start on, so that the first of its kind is seen as a rise.
        built.metrics.webhook_deliveries.labels(str(outcome))
    return Courier(
        outbound=built.outbound,
        seals=built.keys.webhook_secrets,
        slots=asyncio.Semaphore(delivery.WORKER_AT_ONCE),
        claiming=asyncio.Lock(),
        public_url=built.settings.public_url,
        link_key=built.keys.image_links[0],
        image_url_ttl_s=built.settings.image_url_ttl_s,
    )
