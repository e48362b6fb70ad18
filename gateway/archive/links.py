"""Signed URLs of pictures: made at each read, checked without looking anything up. Never says which check failed.

``{public}/images/{imageId}.{ext}?exp={unix seconds}&sig={signature}``, the signature being the HMAC-SHA256 (RFC 2104)
of version, id, extension and expiry in base64url without padding (RFC 4648 section 5). Those of uploads begin with
``/uploads/`` and have a version of their own, so that no link of the one kind is one of the other.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from gateway import errors
from gateway.settings import keyring

IMAGES = "images"
UPLOADS = "uploads"

_VERSIONS = MappingProxyType({IMAGES: "torii-image-v1", UPLOADS: "torii-upload-v1"})
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
#: Canonical decimal, until the year 5138: a second spelling of one moment would be a second URL.
_EXPIRY = re.compile(r"[1-9][0-9]{0,10}")


def sign(
    public_url: str,
    key: keyring.DerivedKey,
    image_id: str,
    extension: str,
    now: datetime,
    ttl_s: int,
    folder: str = IMAGES,
) -> tuple[str, datetime]:
    """The URL of a picture, and the moment it ends: ``ttl_s`` seconds from ``now``, rounded up to a whole second.

    Not rounded further, though a coarser end would let two reads share a URL and a browser's cache: ``ttl_s`` is a
    promise to the operator about how long a leaked URL works.
    """
    if not _NAME.fullmatch(image_id) or not _NAME.fullmatch(extension):
        raise ValueError(f"not a picture's name: {image_id!r}.{extension!r}")
    at = now + timedelta(seconds=ttl_s)
    expires_at = at.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1 if at.microsecond else 0)
    expiry = str(int(expires_at.timestamp()))
    signature = _signature(key, folder, image_id, extension, expiry)
    return f"{public_url}/{folder}/{image_id}.{extension}?exp={expiry}&sig={signature}", expires_at


def verify(
    ring: Sequence[keyring.DerivedKey],
    image_id: str,
    extension: str,
    exp_text: str,
    sig_text: str,
    now: datetime,
    folder: str = IMAGES,
) -> None:
    """Return when the link was signed with a key of the ring and has not ended; else raise ``BadLink``."""
    if not (_NAME.fullmatch(image_id) and _NAME.fullmatch(extension) and _EXPIRY.fullmatch(exp_text)):
        raise errors.BadLink
    given = sig_text.encode(errors="replace")
    # A list, not a generator: every key is tried, so that the time taken tells nothing about which one matched.
    expected = [_signature(key, folder, image_id, extension, exp_text).encode() for key in ring]
    matches = [hmac.compare_digest(each, given) for each in expected]
    if not any(matches) or now.timestamp() >= int(exp_text):
        raise errors.BadLink


def _signature(key: keyring.DerivedKey, folder: str, image_id: str, extension: str, expiry: str) -> str:
    message = "\n".join((_VERSIONS[folder], image_id, extension, expiry)).encode()
    return base64.urlsafe_b64encode(hmac.digest(key.key, message, hashlib.sha256)).rstrip(b"=").decode()
