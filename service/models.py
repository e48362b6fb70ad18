"""The models as the upstream would list them, for anyone: no key is asked for. Shows the catalogue, changes nothing."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from litestar import Request, Response, route

from gateway import errors
from gateway.images import schema
from gateway.images.model import Model
from service import answers, front

_BOOLEANS: Final[Mapping[str, bool]] = MappingProxyType({"true": True, "false": False, "1": True, "0": False})


@route("/api/v1/models", http_method=["GET", "HEAD"], name="listModels")
async def listing(request: Request[Any, Any, Any]) -> Response[bytes]:
    """All models, or those of a modality."""
    catalogue = front.of(request).house.catalogue
    modality = _given(request, "modality")
    return answers.json(schema.listing(catalogue, detailed=_detailed(request), modality=modality))


@route("/api/v1/models/{apiId:str}", http_method=["GET", "HEAD"], name="getModel")
async def one(request: Request[Any, Any, Any]) -> Response[bytes]:
    """One model in full."""
    return answers.json(schema.card(_model(request), detailed=True))


@route("/api/v1/models/{apiId:str}/schema", http_method=["GET", "HEAD"], name="getModelSchema")
async def one_schema(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The JSON Schema of a model's run body."""
    model = _model(request)
    return answers.json({"apiId": model.api_id, "schema": schema.request_schema(model)})


def _model(request: Request[Any, Any, Any]) -> Model:
    return front.of(request).house.catalogue.model(request.path_params["apiId"])


def _detailed(request: Request[Any, Any, Any]) -> bool:
    text = _given(request, "detailed")
    if text is None:
        return False
    if text.lower() not in _BOOLEANS:
        raise errors.InvalidParameter("detailed must be true or false", param="detailed")
    return _BOOLEANS[text.lower()]


def _given(request: Request[Any, Any, Any], name: str) -> str | None:
    texts = request.query_params.getall(name, [])
    if len(texts) > 1:
        raise errors.InvalidParameter(f"{name} may be given once", param=name)
    return texts[0] if texts else None
