"""Where the rooms meet: builds a whole gateway from its settings. The only module that knows everyone.

Opens nothing that it does not hand out, and connects lazily: an unreachable store shows when it is first asked.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from importlib import metadata
from typing import Final, Protocol, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client import Counter as PrometheusCounter
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
from gateway.jobs.errands import Errands
from gateway.jobs.familiar import Familiar
from gateway.jobs.ferry import Ferry
from gateway.jobs.gate import Gate
from gateway.jobs.intake import Intake, Room
from gateway.jobs.library import Library
from gateway.jobs.parts import Counter, Courier, Shop
from gateway.jobs.purse import Purse
from gateway.jobs.scouts import Scouts
from gateway.jobs.snapshots import Snapshots
from gateway.jobs.view import Frame
from gateway.jobs.waiting_room import WaitingRoom
from gateway.reuse import key
from gateway.reuse.shelf import Shelf
from gateway.settings import keyring
from gateway.settings.keyring import Keyring
from gateway.settings.values import Settings
from gateway.storage import database, stores, valkey
from gateway.storage.database import Database, Limits
from gateway.storage.erasure_tables import Cause
from gateway.storage.lane import CONVENIENCE_S, Lane
from gateway.telemetry import metrics, tracing
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Collector, Traces
from gateway.tenancy.recognition import Recogniser
from gateway.upstream.client import Address, Upstream
from gateway.upstream.pacer import Listener, Pacer
from gateway.webhooks import outbound
from gateway.webhooks.outbound import Outbound

#: From where spans go, if anywhere, and the counter of those that got lost, to tracing.
Opens: TypeAlias = Callable[[Collector | None, PrometheusCounter], Traces]
#: The authorities to which all are held who are called; none for those of the system.
Trusted: TypeAlias = ssl.SSLContext | None


class Closes(Protocol):
    """A part that is closed when its house is."""

    async def close(self) -> None:
        """Give back what it holds."""


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
    trusted: ssl.SSLContext
    outbound: Outbound
    waiting_room: WaitingRoom
    library: Library
    intake: Intake
    ferry: Ferry
    traces: Traces

    @cached_property
    def counter(self) -> Counter:
        """What accepting and reading jobs needs."""
        return Counter(
            self.database,
            self.catalogue,
            self.queue,
            self.clock,
            self.library,
            webhook_nets=self.settings.webhook_allow_nets,
            traces=self.traces,
            links_reach_upstream=self.settings.links_reach_upstream,
            ferry=self.ferry,
        )

    @cached_property
    def frame(self) -> Frame:
        """What every view of a job shares."""
        return Frame(
            public_url=self.settings.public_url,
            link_key=self.keys.image_links[0],
            image_url_ttl_s=self.settings.image_url_ttl_s,
            unknown_wait_s=self.settings.unknown_wait_s,
        )


@dataclass(frozen=True)
class Terms:
    """What a gateway is opened on that no setting says; the defaults are for all but tests."""

    #: Opens tracing.
    traced: Opens = tracing.open
    trusted: Trusted = None
    #: In which a transaction may stand still.
    limits: Limits = database.LIMITS
    #: A caller is let in when Redis does not say within this what its pace is.
    pace_within_s: float = CONVENIENCE_S


TERMS: Final = Terms()


@asynccontextmanager
async def house(settings: Settings, terms: Terms = TERMS) -> AsyncIterator[House]:
    """A whole gateway, closed at the end.

    Raises ``SettingError`` (which names the variable) when the catalogue is wrong, the database cannot be reached, or
    its schema is not one that this release works with. Redis and the archive may come later.
    """
    ring = keyring.derive(settings.secret_key)
    registry = CollectorRegistry()
    measured = metrics.declare(registry, metadata.version("torii"))
    traces = terms.traced(_collector(settings), measured.spans_dropped)
    opened = stores.open_database(settings, terms.limits)
    redis = valkey.open(settings.reveal("redis_url"))
    objects: Bucket | None = None
    trusted = outbound.authorities() if terms.trusted is None else terms.trusted
    caller = Outbound(settings.webhook_allow_nets, trusted=trusted, traces=traces)
    recogniser = Recogniser(opened, ring.api_keys, SystemClock())
    ferry = Ferry()
    nudges = queue.open(redis, traces, Lane(redis.connection_pool))
    rate = GenerationRate(redis, terms.pace_within_s)
    waiting_room = WaitingRoom(opened, redis, SystemClock(), settings.unknown_wait_s)
    reused: Library | None = None
    try:
        models = catalogue.load(settings.catalogue)
        objects = _bucket(settings)
        await stores.reach(opened)
        reused = await library(opened, redis, objects, Errands())
        yield House(
            settings=settings,
            keys=ring,
            database=opened,
            redis=redis,
            bucket=objects,
            catalogue=models,
            clock=SystemClock(),
            registry=registry,
            metrics=measured,
            queue=nudges,
            gate=Gate(opened, SystemClock(), rate, Policies(), caller),
            recogniser=recogniser,
            trusted=trusted,
            outbound=caller,
            waiting_room=waiting_room,
            library=reused,
            intake=_intake(settings, opened, objects, caller),
            ferry=ferry,
            traces=traces,
        )
    finally:
        closing: tuple[Closes | None, ...] = (ferry, nudges, rate, waiting_room, reused, recogniser, caller)
        for part in closing:
            if part is not None:
                await part.close()
        if objects is not None:
            objects.close()
        await redis.aclose()
        await opened.close()
        await traces.close()


async def library(opened: Database, redis: Redis, objects: Bucket, errands: Errands) -> Library:
    """What orders are answered again with; ``StoreUnavailable``. The caller closes it."""
    return Library(
        shelf=Shelf(redis, SystemClock()),
        prints=await key.read(opened),
        bucket=objects,
        purse=Purse(opened, SystemClock(), errands),
        scouts=Scouts(),
        errands=errands,
        snapshots=Snapshots(redis, SystemClock(), errands),
        familiar=Familiar(),
    )


def _collector(settings: Settings) -> Collector | None:
    url = settings.traces_url
    if url is None:
        return None
    return Collector(
        url=url,
        headers=settings.traces_headers,
        certificate=settings.otel_exporter_otlp_certificate,
        service_name=settings.otel_service_name,
        version=metadata.version("torii"),
        resource=settings.otel_resource_attributes,
        sampler=settings.otel_traces_sampler,
        ratio=settings.otel_traces_sampler_arg,
    )


def _bucket(settings: Settings) -> Bucket:
    try:
        return bucket.open(settings.archive_url, aws.access(settings))
    except errors.ArchiveUnavailable as error:
        raise errors.SettingError(
            "TORII_ARCHIVE_URL: the archive's folder cannot be made or written", param="TORII_ARCHIVE_URL"
        ) from error


def _intake(settings: Settings, opened: Database, objects: Bucket, caller: Outbound) -> Intake:
    room = Room(timedelta(seconds=settings.upload_ttl_s), settings.upload_team_mib * 1024 * 1024)
    return Intake(opened, objects, SystemClock(), caller, room, settings.webhook_allow_nets)


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
        trusted=built.trusted,
        traces=built.traces,
    )
    try:
        yield Shop(
            worker_id=ids.worker(),
            database=built.database,
            catalogue=built.catalogue,
            queue=built.queue,
            clock=built.clock,
            redis=built.redis,
            metrics=built.metrics,
            upstream=upstream,
            pacer=pacer,
            bucket=built.bucket,
            shelf=built.library.shelf,
            courier=_courier(built),
            concurrency=settings.upstream_concurrency,
            unknown_wait_s=settings.unknown_wait_s,
            exclusive=settings.upstream_exclusive,
            hook_base=f"{settings.public_url}/hooks/upstream" if settings.upstream_webhooks else None,
            traces=built.traces,
            links_reach_upstream=settings.links_reach_upstream,
        )
    finally:
        await upstream.close()


def _courier(built: House) -> Courier:
    for outcome in (*tries.Outcome, tries.DEAD):
        # There from the start on, so that the first of its kind is seen as a rise.
        built.metrics.webhook_deliveries.labels(str(outcome))
    for cause in Cause:
        built.metrics.images_erased.labels(str(cause))
    return Courier(
        outbound=built.outbound,
        seals=built.keys.webhook_secrets,
        slots=asyncio.Semaphore(delivery.WORKER_AT_ONCE),
        claiming=asyncio.Lock(),
        public_url=built.settings.public_url,
        link_key=built.keys.image_links[0],
        image_url_ttl_s=built.settings.image_url_ttl_s,
    )
