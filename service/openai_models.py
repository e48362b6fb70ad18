"""The models as OpenAI's clients list them. Asks for a key, since "does my key work" is asked this way."""

from typing import Any, Final

from litestar import Request, Response, route

from gateway.images.model import Model
from gateway.tenancy.scopes import Scope
from service import answers, callers, front

_OWNER: Final = "pixeldojo"
#: Nobody has told when a model was made.
_CREATED: Final = 0


@route("/v1/models", http_method=["GET", "HEAD"], name="openaiListModels")
async def listing(request: Request[Any, Any, Any]) -> Response[bytes]:
    """All models that can be ordered from."""
    await callers.known(request, *Scope)
    return answers.json({"object": "list", "data": [_told(model) for model in front.of(request).house.catalogue]})


@route("/v1/models/{model:str}", http_method=["GET", "HEAD"], name="openaiGetModel")
async def one(request: Request[Any, Any, Any]) -> Response[bytes]:
    """One of them."""
    await callers.known(request, *Scope)
    return answers.json(_told(front.of(request).house.catalogue.model(request.path_params["model"])))


def _told(model: Model) -> dict[str, object]:
    return {"id": model.api_id, "object": "model", "created": _CREATED, "owned_by": _OWNER}
