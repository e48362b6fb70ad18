"""A model as the upstream would describe it: its JSON Schema and its card in ``GET /models`` (pixeldojo.md 1.3-1.5).

Builds fresh plain JSON values at each call. Credits are plain JSON numbers, never binary floats.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway import errors, money
from gateway.images.catalogue import Catalogue
from gateway.images.model import Model, Parameter
from gateway.images.parameters import URL_MAX_LENGTH

#: What ``?modality=`` may ask for; there is no video here, yet to ask for it is no mistake.
MODALITIES = ("image", "video")

#: How a picture to start from is named.
_IMAGE = MappingProxyType({"type": "string", "minLength": 1, "maxLength": URL_MAX_LENGTH})

Json = dict[str, Any]


def request_schema(model: Model) -> Json:
    """The JSON Schema of a body of ``POST /models/{apiId}/run``, with the fields that are not the model's own."""
    properties = {parameter.name: _property(parameter) for parameter in model.parameters}
    properties["torii"] = {
        "type": "object",
        "description": "The gateway's own options, never sent upstream.",
    }
    properties["webhook_url"] = {
        "type": ["string", "null"],
        "format": "uri",
        "maxLength": 2083,
        "description": "Where the job's end is told, by a signed POST; never sent upstream.",
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [parameter.name for parameter in model.parameters if parameter.required],
        "properties": properties,
    }


def card(model: Model, *, detailed: bool) -> Json:
    """A model in ``GET /models``; ``detailed`` adds parameters, requestSchema, and what each resolution costs.

    ``creditCost.amount`` and ``.default`` are credits for one picture with nothing but a prompt given. The type is
    ``fixed`` where every resolution costs that, else ``resolution``.
    """
    result: Json = {
        "apiId": model.api_id,
        "name": model.name,
        "description": model.description,
        "modality": model.modality,
        "creditCost": _cost(model),
        "capabilities": _capabilities(model),
    }
    if detailed:
        result["creditCost"]["resolutions"] = {
            row: {"amount": money.credits(price.micros), "bound": price.bound} for row, price in model.prices.items()
        }
        result["parameters"] = [
            {"name": parameter.name, "required": parameter.required, **_property(parameter), "type": _type(parameter)}
            for parameter in model.parameters
        ]
        if model.references is not None:
            result["referenceImages"] = _references(model, model.references)
        result["requestSchema"] = request_schema(model)
    return result


def listing(catalogue: Catalogue, *, detailed: bool = False, modality: str | None = None) -> Json:
    """The body of ``GET /models``; the counts are of the models shown. Raises ``InvalidParameter`` for ``modality``."""
    if modality is not None and modality not in MODALITIES:
        raise errors.InvalidParameter(f"modality must be one of {', '.join(MODALITIES)}", param="modality")
    models = [model for model in catalogue if modality in (None, model.modality)]
    return {
        "models": [card(model, detailed=detailed) for model in models],
        "total": len(models),
        "imageCount": sum(model.modality == "image" for model in models),
        "videoCount": sum(model.modality != "image" for model in models),
    }


def _property(parameter: Parameter) -> Json:
    optional: Mapping[str, object] = {
        "default": parameter.default,
        "enum": list(parameter.enum) or None,
        "maxLength": parameter.max_length,
    }
    limits: Mapping[str, object] = {"minimum": parameter.minimum, "maximum": parameter.maximum}
    result: Json = {"type": parameter.type, "description": parameter.description}
    if parameter.type == "enum":
        result["type"] = "string"
    elif parameter.type == "string" and parameter.required:
        result["minLength"] = 1
    elif parameter.type == "image":
        result |= _IMAGE
    elif parameter.type == "images":
        result |= {"type": "array", "items": dict(_IMAGE)}
        limits = {"minItems": parameter.minimum, "maxItems": parameter.maximum}
    return result | {key: value for key, value in {**optional, **limits}.items() if value is not None}


def _type(parameter: Parameter) -> str:
    """The type by the upstream's word for it: its tables say ``enum`` where a JSON Schema says ``string``."""
    return {"images": "array", "image": "string"}.get(parameter.type, parameter.type)


def _references(model: Model, name: str) -> Json:
    """What a client needs to know to start from a picture of its own."""
    parameter = model.parameter(name)
    several = parameter is not None and parameter.type == "images"
    return {
        "parameter": name,
        "list": several,
        "maximum": parameter.maximum if parameter is not None and several else 1,
        "creditCost": money.credits(model.reference_micros),
    }


def _cost(model: Model) -> Json:
    priced_by = model.parameter(model.resolution) if model.resolution else None
    usual = priced_by.default if priced_by else None
    dearest = max(price.micros for price in model.prices.values())
    micros = model.prices[usual].micros if isinstance(usual, str) else dearest
    uniform = all(price.micros == micros for price in model.prices.values())
    amount = money.credits(micros)
    return {"default": amount, "type": "fixed" if uniform else "resolution", "amount": amount}


def _capabilities(model: Model) -> list[str]:
    """The catalogue's, and ``image-to-image`` exactly where reference images are switched on."""
    offered = [capability for capability in model.capabilities if capability != "image-to-image"]
    if model.references is not None:
        offered.append("image-to-image")
    return offered
