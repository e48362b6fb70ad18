"""The fingerprint of a request: one value for every spelling of it, and no clue to what it says. Pure.

It is an HMAC under a key that only this installation has, so that who sees a fingerprint cannot try prompts against it.
Takes canonical parameters alone (``gateway.images.parameters``): how a caller spelled them has no part in it.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

import msgspec

from gateway.images.model import Model, Parameters

KEY_BYTES: Final = 32
#: Part of every fingerprint: a change of what is put in, or of how it is written, begins a new collection.
_FORM: Final = "torii/fingerprint/1"
#: Without it the caller wants variety, and two requests are not the same one.
_SEED: Final = "seed"


@dataclass(frozen=True, slots=True)
class Key:
    """The installation's own key, 32 random bytes; another key finds nothing of what was kept under this one."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a fingerprint key has {KEY_BYTES} bytes")


def of(key: Key, scope: str, model: Model, parameters: Parameters) -> str:
    """The fingerprint of canonical parameters within a scope (a team, or the pool of several), as 64 hex digits.

    The model's version is part of it: after a change of its parameters nothing kept before is found. Prices are not.
    """
    said = {name: parameters[name] for name in sorted(parameters)}
    message = msgspec.json.encode([_FORM, scope, model.api_id, model.version, said])
    return hmac.new(key.secret, message, hashlib.sha256).hexdigest()


def seeded(parameters: Parameters) -> bool:
    """Whether the request names its seed, and so asks for one picture and not for any."""
    return _SEED in parameters
