"""What every handler of one process is handed: the house and the door's own state. Holds; does nothing."""

from dataclasses import dataclass, field
from typing import Any, Final, cast

from litestar import Request
from prometheus_client import CollectorRegistry

from gateway.archive.presence import Presence
from gateway.bootstrap import House
from gateway.jobs.revisit import Memory
from service.fitness import Fitness
from service.readiness import Readiness
from service.renderings import Renderings

#: Where the app's state keeps it.
NAME: Final = "front"


@dataclass(frozen=True)
class Front:
    """The parts of one front door."""

    house: House
    readiness: Readiness
    #: What ``/metrics`` tells: of this process, or of all that share its port.
    counted: CollectorRegistry
    fitness: Fitness
    #: The OpenAPI document as JSON, and the page to read it.
    document: bytes
    page: bytes
    #: Which pictures are surely there, where callers are sent to the object store for them.
    presence: Presence
    #: What the models took lately, for who asks again and again.
    memory: Memory = field(default_factory=Memory)
    #: What was answered a moment ago.
    renderings: Renderings = field(default_factory=Renderings)


def of(request: Request[Any, Any, Any]) -> Front:
    """The door that a request came in by."""
    return cast("Front", request.app.state[NAME])
