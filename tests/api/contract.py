"""Holds answers to an OpenAPI document: its status, its media type, its body. Sends nothing."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

OPENAPI = Path(__file__).resolve().parents[2] / "openapi"


class BrokenContractError(AssertionError):
    """An answer is not what the document promises."""


@dataclass(frozen=True)
class Contract:
    """One document of `openapi/`; paths are below `prefix`."""

    name: str
    prefix: str = ""

    def check(self, answer: httpx.Response) -> None:
        """Raise unless the answer, whose body was read, is what the document says of its operation."""
        request = answer.request
        path, operation = self._operation(request)
        if operation is None:
            return  # no such operation: the document promises nothing
        responses = operation["responses"]
        expected = responses.get(str(answer.status_code), responses.get("default"))
        said = f"{request.method} {path} {answer.status_code}"
        if expected is None:
            raise BrokenContractError(f"{said}: undocumented status")
        content = expected.get("content", {})
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        if content and media_type not in content:
            raise BrokenContractError(f"{said}: undocumented media type {media_type}")
        if request.method == "HEAD" or "schema" not in content.get(media_type, {}):
            return
        faults = sorted(
            f"{fault.json_path}: {fault.message}"
            for fault in _validator(self.name, json.dumps(content[media_type]["schema"])).iter_errors(answer.json())
        )
        if faults:
            raise BrokenContractError(f"{said}: " + "; ".join(faults))

    def _operation(self, request: httpx.Request) -> tuple[str, dict[str, Any] | None]:
        asked = request.url.path.removeprefix(self.prefix)
        method = "get" if request.method == "HEAD" else request.method.lower()
        for path, methods in document(self.name)["paths"].items():
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))
            if re.fullmatch(pattern, asked) and method in methods:
                return path, methods[method]
        return asked, None


@cache
def document(name: str) -> dict[str, Any]:
    """The document of that file."""
    found: dict[str, Any] = json.loads((OPENAPI / name).read_bytes())
    return found


@cache
def _validator(name: str, schema: str) -> Validator:
    return Draft202012Validator({**json.loads(schema), "components": document(name)["components"]})


TORII = Contract("torii.json")
PIXELDOJO = Contract("pixeldojo.json", prefix="/api/v1")
