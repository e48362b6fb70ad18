"""What a body of OpenAI's image API asks of a model here. Pure: translates names and values, decides no price.

What OpenAI's models alone understand is ignored where it changes nothing that could be missed, and refused where its
caller would wait for what never comes. A model's own parameters are taken as they are, and go before the translated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway import errors
from gateway.images import sizes
from gateway.images.catalogue import Catalogue
from gateway.images.model import Model

URL: Final = "url"
B64: Final = "b64_json"
#: Of no meaning here; ignored unless the model has a parameter of that name.
_IGNORED: Final = ("user", "safety_identifier", "quality", "style", "moderation")
_TRANSLATED: Final = (
    "model",
    "n",
    "size",
    "response_format",
    "output_format",
    "background",
    "stream",
    "partial_images",
)
_MOST_PICTURES: Final = 4


@dataclass(frozen=True)
class Wanted:
    """An order: the body of a run of ``model``, and in which forms the pictures are to come."""

    model: Model
    body: Mapping[str, object]
    forms: frozenset[str]


def read(catalogue: Catalogue, body: Mapping[str, object]) -> Wanted:
    """The order of a decoded body; null stands for what is left out, as clients in some languages send it.

    Raises ``ModelNotFound``, or an ``InvalidRequest`` that names the field; the model's own parameters are not checked.
    """
    given = {name: value for name, value in body.items() if value is not None}
    if "model" not in given:
        raise errors.MissingParameter("model is required", param="model")
    if not isinstance(given["model"], str):
        raise errors.InvalidParameter("model must be a string", param="model")
    model = catalogue.model(given["model"])
    _refuse(given)
    own = {
        name: value
        for name, value in given.items()
        if model.parameter(name) is not None or name not in (*_IGNORED, *_TRANSLATED)
    }
    translated: dict[str, object] = {}
    if "size" in given and "size" not in own:
        translated |= sizes.fit(model, given["size"])
    translated |= _pictures(model, given)
    if given.get("output_format") == "jpeg" and _spells_jpg(model):
        own["output_format"] = "jpg"
    return Wanted(model, {**translated, **own}, _forms(given))


def _refuse(given: Mapping[str, object]) -> None:
    if given.get("stream", False) is not False:
        raise errors.InvalidParameter("stream: pictures come whole here; leave it out", param="stream")
    if given.get("partial_images", 0) != 0:
        raise errors.InvalidParameter("partial_images: pictures come whole here; leave it out", param="partial_images")
    if given.get("background", "auto") not in ("auto", "opaque"):
        raise errors.InvalidParameter("background must be auto or opaque: no model here cuts out", param="background")


def _pictures(model: Model, given: Mapping[str, object]) -> Mapping[str, object]:
    number = given.get("n", 1)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= _MOST_PICTURES:
        raise errors.InvalidParameter(f"n must be an integer from 1 to {_MOST_PICTURES}", param="n")
    if model.outputs is not None:
        return {model.outputs: number} if "n" in given else {}
    if number > 1:
        raise errors.InvalidParameter(f"n must be 1: {model.api_id} makes one picture at a time", param="n")
    return {}


def _spells_jpg(model: Model) -> bool:
    parameter = model.parameter("output_format")
    return parameter is not None and "jpg" in parameter.enum and "jpeg" not in parameter.enum


def _forms(given: Mapping[str, object]) -> frozenset[str]:
    asked = given.get("response_format")
    if asked is None:
        return frozenset({URL, B64})
    if asked not in (URL, B64):
        raise errors.InvalidParameter("response_format must be url or b64_json", param="response_format")
    return frozenset({str(asked)})
