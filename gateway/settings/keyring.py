"""Keys derived from ``TORII_SECRET_KEY``, a separate one for each use, so that one use can never forge another.

HKDF with SHA-256 (RFC 5869). Never shows a key, never keeps the secret it came from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from gateway import errors

_KEY_BYTES = 32
_ID_BYTES = 4
#: Part of every derivation: changing it makes every stored key hash and every handed-out link invalid.
_VERSION = "torii/v1"


@dataclass(frozen=True, slots=True)
class DerivedKey:
    """A key of 32 bytes for one use, and its public name of 8 hex digits.

    A row made with the key keeps the name, so that it can be told under which element of the comma list it was made.
    The name is derived beside the key, not from it, and says nothing about it.
    """

    id: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """The keys of each use: the first is current and signs; every one is accepted when verifying."""

    api_keys: tuple[DerivedKey, ...]
    image_links: tuple[DerivedKey, ...]
    webhook_secrets: tuple[DerivedKey, ...]
    sessions: tuple[DerivedKey, ...]

    def __repr__(self) -> str:
        return "Keyring()"


def derive(secrets: Sequence[SecretStr]) -> Keyring:
    """The ring for the comma list of ``TORII_SECRET_KEY``, in its order; an element given twice counts once.

    Raises ``SettingError`` when there is none: no key is ever made up.
    """
    texts = tuple(dict.fromkeys(secret.get_secret_value() for secret in secrets))
    if not texts:
        raise errors.SettingError("TORII_SECRET_KEY is not set", param="TORII_SECRET_KEY")
    return Keyring(
        api_keys=_each(texts, "api-keys"),
        image_links=_each(texts, "image-links"),
        webhook_secrets=_each(texts, "webhook-secrets"),
        sessions=_each(texts, "sessions"),
    )


def _each(texts: tuple[str, ...], use: str) -> tuple[DerivedKey, ...]:
    return tuple(
        DerivedKey(
            id=_expand(text, f"{_VERSION}/{use}/id", _ID_BYTES).hex(),
            key=_expand(text, f"{_VERSION}/{use}/key", _KEY_BYTES),
        )
        for text in texts
    )


def _expand(text: str, info: str, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info.encode()).derive(text.encode())
