"""The front door on one screen: which routes there are, and what surrounds them. Opens nothing itself."""

from typing import Final

from litestar import Litestar
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from gateway import errors
from gateway.bootstrap import House
from gateway.jobs.liveness import Watch
from service import (
    account,
    admin_routes,
    batches,
    bodies,
    document,
    erasure,
    events,
    front,
    health,
    hooks,
    job_list,
    jobs,
    measures,
    models,
    openai_images,
    openai_models,
    options,
    page,
    pictures,
    problems,
    reading,
    webhooks,
)
from service.console import faults, routes
from service.console import parts as console_parts
from service.envelope import Envelope
from service.fitness import Fitness
from service.front import Front
from service.readiness import Readiness

ROUTES: Final[tuple[HTTPRouteHandler, ...]] = (
    jobs.run,
    jobs.read,
    jobs.cancel,
    erasure.erase,
    batches.create,
    batches.listing,
    batches.read,
    batches.cancel,
    events.watch,
    job_list.listing,
    webhooks.replay,
    account.read,
    account.quoted,
    models.listing,
    models.one,
    models.one_schema,
    openai_images.generate,
    openai_models.listing,
    openai_models.one,
    pictures.picture,
    hooks.upstream,
    health.live,
    health.ready,
    health.paid,
    measures.metrics,
    measures.of_books,
    reading.welcome,
    reading.page,
    reading.openapi,
    *admin_routes.ADMIN_ROUTES,
)


def create(house: House, readiness: Readiness | None = None) -> Litestar:
    """The ASGI app over an open house; whoever runs it says through ``readiness`` that the process is about to end."""
    described = document.describe(house.catalogue)
    app = Litestar(
        route_handlers=[*options.handlers(ROUTES), *ROUTES, *routes.ROUTES],
        state=State(
            {
                front.NAME: Front(
                    house=house,
                    readiness=readiness or Readiness(),
                    fitness=Fitness(house, Watch(house.clock)),
                    document=document.encode(described),
                    page=page.render(described),
                ),
                console_parts.NAME: console_parts.make(house),
            },
            deep_copy=False,
        ),
        exception_handlers={
            errors.ToriiError: faults.shown_by(problems.of_house),
            HTTPException: faults.shown_by(problems.of_framework),
            Exception: faults.shown_by(problems.of_bug),
        },
        request_max_body_size=bodies.MAX_BYTES,
        # The document is our own (the framework's page loads scripts from other hosts), and so are the logs.
        openapi_config=None,
        logging_config=None,
    )
    # Outside of everything: the framework's own middleware never sees a request that matches no route.
    app.asgi_handler = Envelope(app.asgi_handler, house.metrics.http_request_duration, house.traces)
    return app
