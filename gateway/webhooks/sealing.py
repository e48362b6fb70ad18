"""Secrets at rest: AES-256-GCM under a key derived from ``TORII_SECRET_KEY``. Pure but for the nonce; stores nothing.

A sealed text is bound to its row: moved to another one, it does not open.
"""

import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.settings.keyring import DerivedKey

_NONCE_BYTES: Final = 12


@dataclass(frozen=True)
class Sealed:
    """What a row keeps: the nonce with the sealed bytes, and the id of the key that sealed them."""

    data: bytes
    key_id: str


def seal(key: DerivedKey, secret: bytes, row_id: str) -> Sealed:
    """The secret, sealed for that row."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return Sealed(nonce + AESGCM(key.key).encrypt(nonce, secret, row_id.encode()), key.id)


def open(ring: tuple[DerivedKey, ...], sealed: Sealed, row_id: str) -> bytes | None:
    """The secret; none if no key of the ring opens it for that row."""
    for key in ring:
        if key.id == sealed.key_id:
            try:
                return AESGCM(key.key).decrypt(sealed.data[:_NONCE_BYTES], sealed.data[_NONCE_BYTES:], row_id.encode())
            except (InvalidTag, ValueError):
                continue
    return None
