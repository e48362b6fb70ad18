"""What the console's handlers are handed beside the house: its paper, and who makes small pictures. Holds them."""

from dataclasses import dataclass
from typing import Any, Final, cast

from litestar import Request

from gateway.bootstrap import House
from gateway.jobs.thumbnails import Thumbnails
from service.console import assets, paper
from service.console.paper import Paper

#: Where the app's state keeps it.
NAME: Final = "console"


@dataclass(frozen=True)
class Console:
    """The parts of the console in one process."""

    paper: Paper
    thumbnails: Thumbnails


def make(house: House) -> Console:
    """The console over an open house."""
    return Console(paper.unfold(assets.load()), Thumbnails(house.database, house.bucket))


def of(request: Request[Any, Any, Any]) -> Console:
    """The console that a request came to."""
    return cast("Console", request.app.state[NAME])
