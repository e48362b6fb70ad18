"""The pictures that ``torii generate`` starts from: files that are brought first, ids of uploads, and URLs as they are.

Under one idempotency key a file is one upload, so that a repeated order names the same one.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer

from cli import patience
from cli.failures import Failure, Status
from cli.frontdoor import Answer, Body, Door
from cli.progress import Teller

_NAMES: Final = ("https://", "http://", "upload_")
_MAX_BYTES: Final = 20 * 1024 * 1024
#: How a file of each type begins.
_KINDS: Final = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))
_WITHIN_S: Final = 120.0


@dataclass(frozen=True)
class Reference:
    """One of them: its name as the gateway takes it, or the bytes of a file that has none yet."""

    name: str
    data: bytes | None = None
    kind: str = ""


def read(words: Sequence[str]) -> tuple[Reference, ...]:
    """What those words mean; a file that cannot be read or is no picture is a mistake of the command line."""
    return tuple(Reference(word) if word.startswith(_NAMES) else _file(word) for word in words)


async def named(door: Door, model: str, body: Body, references: Sequence[Reference], key: str, teller: Teller) -> Body:
    """The order's body with them, each file brought; raises ``Failure``."""
    if not references:
        return body

    async def card() -> Answer:
        return await door.model(model)

    told = (await patience.patient(card, within_s=_WITHIN_S, told=teller.again)).body.get("referenceImages")
    if not isinstance(told, dict):
        said = f"{model} takes no reference images at this gateway"
        raise Failure("invalid_parameter", said, Status.REFUSED, param="reference")
    parameter = str(told["parameter"])
    if parameter in body:
        raise Failure("invalid_parameter", f"give either --reference or {parameter}", Status.MISTAKE, param="reference")
    names = [
        each.name if each.data is None else await _brought(door, each, each.data, key, teller) for each in references
    ]
    if not told["list"] and len(names) > 1:
        raise Failure("invalid_parameter", f"{model} starts from one picture", Status.REFUSED, param="reference")
    value: Any = names if told["list"] else names[0]
    return {**body, parameter: value}


async def _brought(door: Door, reference: Reference, data: bytes, key: str, teller: Teller) -> str:
    own = hashlib.sha256(key.encode() + b"\n" + data).hexdigest()

    async def sent() -> Answer:
        return await door.upload(data, reference.kind, own)

    answer = await patience.patient(sent, within_s=_WITHIN_S, told=teller.again)
    teller.say(f"{reference.name} is {answer.body['uploadId']}")
    return str(answer.body["uploadId"])


def _file(word: str) -> Reference:
    try:
        data = Path(word).read_bytes()
    except OSError as error:
        raise _mistake(word, error.strerror or "cannot be read") from None
    kind = next((kind for begins, kind in _KINDS if data.startswith(begins)), None)
    if kind is None:
        raise _mistake(word, "is no PNG, JPEG or WebP")
    if len(data) > _MAX_BYTES:
        raise _mistake(word, f"is larger than {_MAX_BYTES // (1024 * 1024)} MiB")
    return Reference(word, data, kind)


def _mistake(word: str, why: str) -> typer.BadParameter:
    return typer.BadParameter(f"{word!r}: {why}", param_hint="'--reference'")
