"""What the steps of a job are made with: the other rooms, handed in by ``bootstrap``. Holds; does nothing."""

from dataclasses import dataclass

from gateway.archive.bucket import Bucket
from gateway.clock import Clock
from gateway.images.catalogue import Catalogue
from gateway.jobs.queue import Queue
from gateway.storage.database import Database
from gateway.telemetry.metrics import Metrics
from gateway.upstream.client import Upstream
from gateway.upstream.pacer import Pacer


@dataclass(frozen=True)
class Counter:
    """What accepting and reading jobs needs: the front door's side."""

    database: Database
    catalogue: Catalogue
    queue: Queue
    clock: Clock


@dataclass(frozen=True)
class Shop:
    """What carrying jobs out needs: the back door's side, in one worker process."""

    worker_id: str
    database: Database
    catalogue: Catalogue
    queue: Queue
    clock: Clock
    metrics: Metrics
    upstream: Upstream
    pacer: Pacer
    bucket: Bucket
    #: Jobs in flight upstream across all workers (``TORII_UPSTREAM_CONCURRENCY``).
    concurrency: int
