"""The text of an API key: ``torii_<12 id>_<43 secret><6 checksum>``, base 62. Pure; stores nothing.

The checksum lets a typo be told from an unknown key without asking any store, and lets scanners of leaked secrets
find real keys. The secret is 43 digits, 256 bits; only its HMAC is ever kept.
"""

import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass, field

from gateway import ids

_PATTERN = re.compile(r"torii_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})", re.ASCII)


@dataclass(frozen=True)
class KeyText:
    """A key as its holder writes it; its ``repr`` keeps the secret."""

    id: str
    secret: str = field(repr=False)

    def reveal(self) -> str:
        """The whole key, to be shown once."""
        return f"torii_{self.id}_{self.secret}{_checksum(self.id, self.secret)}"


def mint() -> KeyText:
    """A new key."""
    return KeyText(id=ids.base62(12), secret=ids.base62(43))


def parse(text: str) -> KeyText | None:
    """The key of that text, or none if it is not the text of any key."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        return None
    key_id, secret, checksum = match.groups()
    if checksum != _checksum(key_id, secret):
        return None
    return KeyText(id=key_id, secret=secret)


def named(text: str) -> str:
    """Whose key the text would be, if it is the text of any."""
    return text[6:18]


def digest(key: bytes, text: KeyText) -> bytes:
    """What is stored of a key: HMAC-SHA256 (RFC 2104) of its id and secret, 32 bytes."""
    return hmac.new(key, f"{text.id}:{text.secret}".encode(), hashlib.sha256).digest()


def _checksum(key_id: str, secret: str) -> str:
    return ids.encode(zlib.crc32(f"{key_id}{secret}".encode()), 6)
