"""Standard Webhooks: the secrets, and the headers that let a receiver tell a message of ours. Pure but for new secrets.

``v1`` is HMAC-SHA256 over ``id.timestamp.body``, in base64. While secrets rotate each of them signs.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32


def new_secret() -> bytes:
    """A secret's bytes, from the operating system's generator."""
    return secrets.token_bytes(SECRET_BYTES)


def spell(secret: bytes) -> str:
    """The secret as its team keeps it."""
    return PREFIX + base64.b64encode(secret).decode("ascii")


def headers(living: Sequence[bytes], message_id: str, at: datetime, body: bytes) -> Mapping[str, str]:
    """The headers of a message that is sent at that moment; the newest secret signs first."""
    timestamp = str(int(at.timestamp()))
    signed = b".".join((message_id.encode("ascii"), timestamp.encode("ascii"), body))
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_sign(secret, signed) for secret in living),
    }


def _sign(secret: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode("ascii")
