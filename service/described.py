"""What is said of an operation: the terms in which ``operations`` lists them all. Describes; serves nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from gateway.errors import ToriiError

JSON: Final = "application/json"


@dataclass(frozen=True)
class Parameter:
    """A parameter in the path or the query; ``schema`` is a JSON Schema."""

    name: str
    place: str
    description: str
    schema: Mapping[str, Any]
    required: bool = True


@dataclass(frozen=True)
class Answer:
    """A good answer: its shape, or the media type of what has none."""

    description: str
    shape: type[msgspec.Struct] | None = None
    media_types: tuple[str, ...] = (JSON,)
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """One method of one path; ``id`` is also its handler's name."""

    id: str
    method: str
    path: str
    tag: str
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    raises: tuple[type[ToriiError], ...] = ()
    #: The name of its security scheme, if a credential is asked for.
    security: str | None = None
    #: It takes a model's parameters as its body.
    runs_model: bool = field(default=False)
    #: The shape of its body, if it takes another one.
    body: type[msgspec.Struct] | None = None
    #: JSON Schemas of the bodies that are no JSON, by media type.
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
