"""The OpenAPI document as one HTML page, made here: no script, and nothing from any other host."""

import html
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

Json = Mapping[str, Any]

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "h2{margin-top:3rem;border-bottom:1px solid #ccc}h3{margin-top:2rem}code,pre{font:14px/1.5 ui-monospace,monospace}"
    "code{background:#f3f3f3;padding:.1em .3em}pre{background:#f3f3f3;padding:1rem;overflow:auto}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.3rem .6rem;"
    "border-top:1px solid #ddd}.method{font-weight:bold;text-transform:uppercase}"
    "@media(prefers-color-scheme:dark){body{background:#161616;color:#e6e6e6}code,pre{background:#262626}a{color:#8ab4f8}}"
)


def render(document: Json) -> bytes:
    """The page of that document."""
    info = document["info"]
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_text(info['title'])} API</title><style>{_STYLE}</style></head><body>"
        f"<h1>{_text(info['title'])} API {_text(info['version'])}</h1>"
    )
    parts = (
        head,
        *(f"<p>{_prose(paragraph)}</p>" for paragraph in info["description"].split("\n\n")),
        '<p><a href="/schema/openapi.json">openapi.json</a></p>',
        *_operations(document["paths"]),
        *_schemas(document["components"]["schemas"]),
        "</body></html>\n",
    )
    return "\n".join(parts).encode()


def _operations(paths: Json) -> Iterator[str]:
    heading = ""
    for path, methods in paths.items():
        for method, operation in methods.items():
            if operation["tags"][0] != heading:
                heading = operation["tags"][0]
                yield f"<h2>{_text(heading)}</h2>"
            yield (
                f'<h3 id="{_text(operation["operationId"])}"><span class="method">{_text(method)}</span> '
                f"<code>{_text(path)}</code></h3><p>{_prose(operation['summary'])}.</p>"
            )
            if "description" in operation:
                yield f"<p>{_prose(operation['description'])}</p>"
            yield from _credentials(operation)
            yield from _parameters(operation.get("parameters", []))
            yield from _request(operation)
            yield from _responses(operation["responses"])


def _credentials(operation: Json) -> Iterator[str]:
    for scheme in operation.get("security", []):
        yield f"<p>Credential: {', '.join(f'<code>{_text(name)}</code>' for name in scheme)}, as a bearer token.</p>"


def _parameters(parameters: list[Json]) -> Iterator[str]:
    if parameters:
        yield "<table><tr><th>parameter</th><th>in</th><th>values</th><th></th></tr>"
        for parameter in parameters:
            yield (
                f"<tr><td><code>{_text(parameter['name'])}</code></td><td>{_text(parameter['in'])}</td>"
                f"<td>{_kind(parameter['schema'])}</td><td>{_prose(parameter['description'])}</td></tr>"
            )
        yield "</table>"


def _request(operation: Json) -> Iterator[str]:
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body, <code>{_text(media_type)}</code>: {_kind(content['schema'])}</p>"


def _responses(responses: Json) -> Iterator[str]:
    yield "<table><tr><th>status</th><th></th><th>body</th></tr>"
    for status, response in responses.items():
        shapes = (
            _kind(content["schema"]) if "schema" in content else f"<code>{_text(media_type)}</code>"
            for media_type, content in response.get("content", {}).items()
        )
        yield (
            f"<tr><td>{_text(status)}</td><td>{_prose(response['description'])}</td><td>{', '.join(shapes)}</td></tr>"
        )
    yield "</table>"


def _schemas(schemas: Json) -> Iterator[str]:
    yield "<h2>Shapes</h2>"
    for name, schema in schemas.items():
        required = schema.get("required", [])
        yield f'<h3 id="shape-{_text(name)}">{_text(name)}</h3><p>{_prose(schema.get("description", ""))}</p><table>'
        for member, described in schema.get("properties", {}).items():
            wanted = "required" if member in required else ""
            yield (
                f"<tr><td><code>{_text(member)}</code></td><td>{_kind(described)}</td><td>{wanted}</td>"
                f"<td>{_prose(described.get('description', ''))}</td></tr>"
            )
        yield "</table>"


def _kind(schema: Json) -> str:
    """What values a schema allows, in a few words, with links to the shapes it names."""
    if "$ref" in schema:
        name = _text(schema["$ref"].rpartition("/")[2])
        return f'<a href="#shape-{name}">{name}</a>'
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(_kind(member) for member in schema[union])
    if "enum" in schema:
        return " ".join(f"<code>{_text(_json(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    words = [str(schema.get("type", "any"))]
    words += [f"{word} {schema[key]}" for key, word in _LIMITS if key in schema]
    if "default" in schema:
        words.append(f"default {_json(schema['default'])}")
    return _text(", ".join(words))


_LIMITS: Final = (("minimum", "from"), ("maximum", "to"), ("maxLength", "at most characters:"))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _text(text: object) -> str:
    return html.escape(str(text))


def _prose(text: str) -> str:
    """Escaped text in which backticks make code."""
    pieces = _text(text).split("`")
    return "".join(f"<code>{piece}</code>" if at % 2 else piece for at, piece in enumerate(pieces))
