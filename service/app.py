"""The front door on one screen: which routes there are, and what surrounds them. Opens nothing itself."""

from typing import Any, Final

from litestar import Litestar
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CollectorRegistry

from gateway import errors
from gateway.archive.presence import Presence
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
    express,
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
    uploads,
    webhooks,
)
from service.console import faults, routes
from service.console import parts as console_parts
from service.cors import Cors
from service.envelope import Envelope
from service.express import Express
from service.fitness import Fitness
from service.forwarding import Forwarded
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
    uploads.create,
    uploads.listing,
    uploads.read,
    uploads.erase,
    uploads.file,
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


def create(house: House, readiness: Readiness | None = None, counted: CollectorRegistry | None = None) -> Litestar:
    """The ASGI app over an open house; whoever runs it says through ``readiness`` that the process is about to end.

    ``counted`` is what ``/metrics`` tells; by default what this process counts.
    """
    described = document.describe(house.catalogue)
    answered: dict[type[Exception] | int, Any] = {
        errors.ToriiError: faults.shown_by(problems.of_house),
        HTTPException: faults.shown_by(problems.of_framework),
        Exception: faults.shown_by(problems.of_bug),
    }
    app = Litestar(
        route_handlers=[*options.handlers(ROUTES), *ROUTES, *routes.ROUTES],
        state=State(
            {
                front.NAME: Front(
                    house=house,
                    readiness=readiness or Readiness(),
                    counted=house.registry if counted is None else counted,
                    fitness=Fitness(house, Watch(house.clock)),
                    document=document.encode(described),
                    page=page.render(described),
                    presence=Presence(house.bucket, house.clock),
                ),
                console_parts.NAME: console_parts.make(house),
            },
            deep_copy=False,
        ),
        exception_handlers=answered,
        request_max_body_size=bodies.MAX_BYTES,
        # The document is our own (the framework's page loads scripts from other hosts), and so are the logs.
        openapi_config=None,
        logging_config=None,
    )
    ways = tuple(
        express.way(*each) for each in (("POST", jobs.run), ("GET", jobs.read), ("POST", openai_images.generate))
    )
    app.asgi_handler = Express(app.asgi_handler, ways, answered)
    if house.settings.cors_origins:
        app.asgi_handler = Cors(app.asgi_handler, house.settings.cors_origins)
    # Outside of everything: the framework's own middleware never sees a request that matches no route.
    app.asgi_handler = Envelope(app.asgi_handler, house.metrics.http_request_duration, house.traces)
    if house.settings.trusted_proxies:
        app.asgi_handler = Forwarded(app.asgi_handler, house.settings.trusted_proxies)
    return app
