"""The upstream's own calls about a job. The token in the path is the key; what a call says is a hint, never believed.

The answer to a known token is the same whatever became of its job. The token stands in no log and in no metric.
"""

from typing import Any, Final

from litestar import Request, Response, route

from gateway import errors
from gateway.jobs import hooks
from service import bodies, front

MAX_BYTES: Final = 64 * 1024
#: Ours have fewer characters.
_TOKEN_MAX: Final = 100


@route("/hooks/upstream/{token:str}", http_method=["POST"], name="upstreamHook")
async def upstream(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Heed a call; 404 for a token that is nobody's, before anything of the body is read."""
    house = front.of(request).house
    token: str = request.path_params["token"]
    if len(token) > _TOKEN_MAX or not token.isascii() or not await hooks.known(house.database, token):
        raise errors.NotFound
    said = bodies.parse(await bodies.read(request, MAX_BYTES))
    await hooks.take(house.database, house.queue, token, hooks.named(said), house.clock.now())
    return Response(b"", status_code=204)
