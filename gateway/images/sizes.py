"""A size in pixels as a model takes it: the nearest of its ratios, and a resolution. Pure."""

import math
import re
from collections.abc import Mapping
from typing import Final

from gateway import errors
from gateway.images.model import Model

_SIZE: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", re.ASCII)
_RATIO: Final = re.compile(r"([1-9][0-9]{0,2}):([1-9][0-9]{0,2})", re.ASCII)
_MEGAPIXELS: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?) MP", re.ASCII)
#: Pixels of one megapixel, as the models count.
MEGAPIXEL: Final = 1024 * 1024
RATIO: Final = "aspect_ratio"


def fit(model: Model, size: object) -> Mapping[str, str]:
    """The model's own parameters for ``WIDTHxHEIGHT``; none for ``auto``, and none that the model does not have.

    The ratio is the nearest by logarithm, the resolution the largest that has no more pixels than asked for, or else
    the smallest. ``InvalidParameter`` for what is no size.
    """
    if size == "auto":
        return {}
    found = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if found is None:
        raise errors.InvalidParameter("size must be auto, or WIDTHxHEIGHT in pixels such as 1024x1024", param="size")
    width, height = int(found[1]), int(found[2])
    chosen = {RATIO: _ratio(model, width / height)}
    if model.resolution is not None:
        chosen[model.resolution] = _resolution(model, width * height)
    return {name: value for name, value in chosen.items() if value is not None}


def _ratio(model: Model, wanted: float) -> str | None:
    parsed = {text: _RATIO.fullmatch(text) for text in _members(model, RATIO)}
    ratios = {text: int(found[1]) / int(found[2]) for text, found in parsed.items() if found}
    return min(ratios, key=lambda text: abs(math.log(ratios[text] / wanted)), default=None)


def _resolution(model: Model, pixels: int) -> str | None:
    parsed = {text: _MEGAPIXELS.fullmatch(text) for text in _members(model, model.resolution)}
    areas = {text: float(found[1]) * MEGAPIXEL for text, found in parsed.items() if found}
    within = {text: area for text, area in areas.items() if area <= pixels}
    return max(within, key=lambda text: within[text], default=min(areas, key=lambda text: areas[text], default=None))


def _members(model: Model, name: str | None) -> tuple[str, ...]:
    parameter = None if name is None else model.parameter(name)
    return () if parameter is None else parameter.enum
