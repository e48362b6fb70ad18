"""What every handler of one process is handed: the house and the door's own state. Holds; does nothing."""

from dataclasses import dataclass
from typing import Any, Final, cast

from litestar import Request

from gateway.bootstrap import House
from service.fitness import Fitness
from service.readiness import Readiness

#: Where the app's state keeps it.
NAME: Final = "front"


@dataclass(frozen=True)
class Front:
    """The parts of one front door."""

    house: House
    readiness: Readiness
    fitness: Fitness
    #: The OpenAPI document as JSON, and the page to read it.
    document: bytes
    page: bytes


def of(request: Request[Any, Any, Any]) -> Front:
    """The door that a request came in by."""
    return cast("Front", request.app.state[NAME])
