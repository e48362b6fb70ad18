"""The OpenAPI document (3.1), made from the operations, the wire's shapes, the errors and the catalogue.

The same release and catalogue make the same bytes. Needs no settings, opens nothing.
"""

import itertools
from collections.abc import Iterable, Mapping
from importlib import metadata
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec

from gateway.errors import ToriiError
from gateway.images import catalogue, schema
from gateway.images.catalogue import Catalogue
from gateway.jobs import orders
from service import described, operations, problems, wire
from service.described import Answer, Operation

Json = dict[str, Any]

_OPTIONAL: Final = "metricsToken"
_REF: Final = "#/components/schemas/{name}"
_PROBLEM_HEADERS: Final[Mapping[int, tuple[str, ...]]] = MappingProxyType(
    {
        401: ("WWW-Authenticate",),
        429: ("Retry-After", "RateLimit-Policy", "RateLimit"),
        503: ("Retry-After",),
        504: ("Cache-Status",),
    }
)
_ABOUT: Final = (
    "A gate in front of PixelDojo: team keys, one payment for each picture, an archive that lasts. "
    "A client of PixelDojo moves here by changing its base URL and its key.\n\n"
    "Each path that answers GET answers HEAD too. Errors have one body in all routes; the codes are listed in "
    "docs/errors.md. Every answer carries `X-Request-ID`, a sane one of the caller's or one of ours."
)
_HEADERS: Final[Mapping[str, Json]] = MappingProxyType(
    {
        "Retry-After": {
            "description": "Seconds to wait before asking again, at most 60.",
            "schema": {"type": "integer", "minimum": 1, "maximum": 60},
        },
        "RateLimit-Policy": {
            "description": "The tighter of the key's and the team's new generations a minute: `\"key\";q=300;w=60`.",
            "schema": {"type": "string"},
        },
        "RateLimit": {
            "description": 'How many are left of it, and the seconds until there are more: `"key";r=12;t=30`.',
            "schema": {"type": "string"},
        },
        "X-Request-ID": {"description": "Finds the request in the logs.", "schema": {"type": "string"}},
        "WWW-Authenticate": {"description": "RFC 6750.", "schema": {"type": "string", "const": "Bearer"}},
        "ETag": {"description": "Names what was answered, for `If-None-Match`.", "schema": {"type": "string"}},
        "Preference-Applied": {
            "description": "How long `Prefer` was followed at most: `wait=60`.",
            "schema": {"type": "string"},
        },
        "Cache-Status": {
            "description": "What the cache had to do with it (RFC 9211): `torii; hit`, `torii; fwd=miss`, "
            "`torii; fwd=miss; collapsed`, `torii; fwd=bypass` or `torii; fwd=request`.",
            "schema": {"type": "string", "examples": ["torii; hit"]},
        },
        "Age": {"description": "Seconds since the answer was made.", "schema": {"type": "integer", "minimum": 0}},
        "Idempotent-Replayed": {
            "description": "It is that of an earlier request with this `Idempotency-Key`.",
            "schema": {"type": "string", "const": "true"},
        },
        "Location": {"description": "Where it is.", "schema": {"type": "string", "format": "uri"}},
        "Cache-Control": {"description": "As long as the link lives.", "schema": {"type": "string"}},
    }
)
_Priority = Annotated[
    int,
    msgspec.Meta(
        ge=-orders.MAX_PRIORITY,
        le=orders.MAX_PRIORITY,
        description="Orders the jobs of one team: the higher goes first; 0 when nothing is said.",
    ),
]
_Patience = Annotated[
    int, msgspec.Meta(ge=1, le=orders.MAX_START_WITHIN_S, description="Fail rather than start later than this.")
]


class RunOptions(wire.Shape, forbid_unknown_fields=True):
    """What ``torii`` may hold: the gateway's own options, never sent upstream."""

    metadata: Annotated[
        dict[str, Any] | msgspec.UnsetType,
        msgspec.Meta(description=f"Given back with the job; at most {orders.MAX_METADATA_BYTES} bytes as JSON."),
    ] = msgspec.UNSET
    priority: _Priority | msgspec.UnsetType = msgspec.UNSET
    start_within_s: _Patience | msgspec.UnsetType = msgspec.field(name="startWithinS", default=msgspec.UNSET)


def render() -> bytes:
    """``openapi/torii.json``: the document over the shipped catalogue."""
    return encode(describe(catalogue.load()))


def encode(document: Json) -> bytes:
    """The document as pretty JSON with a newline at its end."""
    return msgspec.json.format(wire.encode(document), indent=2) + b"\n"


def describe(models: Catalogue) -> Json:
    """The document; the bodies that ``run`` takes are those of the catalogue's models."""
    bodies = _run_bodies(models)
    shapes = {
        answer.shape for operation in operations.OPERATIONS for answer in operation.answers.values() if answer.shape
    } | {operation.body for operation in operations.OPERATIONS if operation.body}
    _, components = msgspec.json.schema_components(
        sorted((*shapes, wire.Problem, RunOptions), key=lambda shape: shape.__name__), ref_template=_REF
    )
    paths: Json = {}
    for operation in operations.OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, list(bodies))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Torii",
            "version": metadata.version("torii"),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": dict(sorted({**components, **bodies}.items())),
            "headers": dict(_HEADERS),
            "securitySchemes": {
                "teamKey": {"type": "http", "scheme": "bearer", "description": "A team's key, `torii_…`."},
                "adminToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`TORII_ADMIN_TOKEN`, or a key with the scope `admin`; for keys, `manage` too.",
                },
                _OPTIONAL: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`TORII_OPTIONAL`; where none is set, only this machine is answered.",
                },
            },
        },
    }


def _operation(operation: Operation, bodies: list[str]) -> Json:
    told: Json = {"operationId": operation.id, "tags": [operation.tag], "summary": operation.summary}
    if operation.description:
        told["description"] = operation.description
    if operation.security is not None:
        told["security"] = [{operation.security: []}]
        if operation.security == _OPTIONAL:
            told["security"].append({})  # where none is set, this machine is answered without one
    if operation.parameters:
        told["parameters"] = [
            {
                "name": parameter.name,
                "in": parameter.place,
                "required": parameter.required,
                "description": parameter.description,
                "schema": dict(parameter.schema),
            }
            for parameter in operation.parameters
        ]
    if operation.runs_model:
        told["requestBody"] = {
            "required": True,
            "description": "As the model's schema says.",
            "content": {described.JSON: {"schema": {"anyOf": [_reference(name) for name in bodies]}}},
        }
    if operation.body is not None:
        content: Json = {described.JSON: {"schema": _reference(operation.body.__name__)}}
        content |= {media_type: {"schema": dict(form)} for media_type, form in operation.files.items()}
        # Without a body each member is left out, so one is asked for only where a member must be there.
        required = any(member.required for member in msgspec.structs.fields(operation.body))
        told["requestBody"] = {"required": required, "content": content}
    answers = {str(status): _answer(answer) for status, answer in operation.answers.items()}
    told["responses"] = {**answers, **_problems(operation.raises, taken=answers), "default": _any_problem()}
    return told


def _answer(answer: Answer) -> Json:
    content: Json = {}
    for media_type in answer.media_types:
        content[media_type] = {}
        if answer.shape is not None and media_type == described.JSON:
            content[media_type] = {"schema": _reference(answer.shape.__name__)}
    told: Json = {"description": answer.description, "headers": _header_references(answer.headers)}
    if content:
        told["content"] = content
    return told


def _problems(raised: Iterable[type[ToriiError]], taken: Mapping[str, Any]) -> Json:
    """The errors by status, those of one status as one answer."""

    def status(error: type[ToriiError]) -> int:
        return problems.TABLE[error].status

    told: Json = {}
    for code, group in itertools.groupby(sorted(raised, key=status), key=status):
        if str(code) not in taken:
            members = list(group)
            codes = " ".join(f"`{error.code}`: {problems.title(error)}" for error in members)
            told[str(code)] = {
                "description": codes,
                "headers": _header_references(_PROBLEM_HEADERS.get(code, ())),
                "content": {problems.MEDIA_TYPE: {"schema": _reference("Problem")}},
            }
    return told


def _any_problem() -> Json:
    return {
        "description": "Any other error, in the same body.",
        "headers": _header_references(()),
        "content": {problems.MEDIA_TYPE: {"schema": _reference("Problem")}},
    }


def _header_references(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, "X-Request-ID")}


def _reference(name: str) -> Json:
    return {"$ref": _REF.format(name=name)}


def _run_bodies(models: Catalogue) -> dict[str, Json]:
    """The bodies by component name; models with the same parameters share one, named after the first of them."""
    found: list[tuple[Json, list[str]]] = []
    for model in models:
        body = schema.request_schema(model)
        body["properties"]["torii"] = _reference(RunOptions.__name__)
        sharers = next((names for known, names in found if known == body), None)
        if sharers is None:
            found.append((body, [model.api_id]))
        else:
            sharers.append(model.api_id)
    return {
        _component_name(names[0]): {"title": _component_name(names[0]), "description": _of_models(names), **body}
        for body, names in found
    }


def _component_name(api_id: str) -> str:
    words = "".join(sign if sign.isalnum() else " " for sign in api_id).split()
    return "Run" + "".join(word.capitalize() for word in words)


def _of_models(api_ids: list[str]) -> str:
    return "The body of a run of " + ", ".join(f"`{api_id}`" for api_id in api_ids) + "."
