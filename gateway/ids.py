"""Identifiers: opaque, unguessable, with a prefix that says what they name. Carries no meaning and no order."""

import os
import string

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase

#: 22 base-62 digits carry 131 bits.
_LENGTH = 22

#: Each digit stands for four bytes, and the eight bytes that are left over for none: so all digits are as likely.
_DIGITS = (BASE62 * 4).encode() + bytes(8)
_LEFT_OVER = bytes(range(248, 256))


def base62(length: int) -> str:
    """That many random base-62 digits from the operating system's generator."""
    digits = b""
    while len(digits) < length:
        # With so many spare ones a second round is never seen.
        digits += os.urandom(length + 16).translate(_DIGITS, _LEFT_OVER)
    return digits[:length].decode()


def encode(number: int, length: int) -> str:
    """``number`` in base 62, padded on the left with zeros to ``length``; raises ``OverflowError`` if it needs more."""
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(BASE62[digit])
    if number:
        raise OverflowError(f"does not fit in {length} base-62 digits")
    return "".join(reversed(digits))


def team() -> str:
    """A new team's id; it never changes and labels the team's metrics."""
    return "team_" + base62(_LENGTH)


def job() -> str:
    """A new job's id."""
    return "job_" + base62(_LENGTH)


def image() -> str:
    """A new picture's id."""
    return "img_" + base62(_LENGTH)


def entry() -> str:
    """A new ledger entry's id."""
    return "le_" + base62(_LENGTH)


def worker() -> str:
    """A new worker process's id."""
    return "wrk_" + base62(_LENGTH)


def claim() -> str:
    """A new claim's token."""
    return "clm_" + base62(_LENGTH)


def request() -> str:
    """A new request's id, for callers that sent none."""
    return "req_" + base62(_LENGTH)


def audit() -> str:
    """A new audit record's id."""
    return "aud_" + base62(_LENGTH)


def message() -> str:
    """A new webhook message's id; the same over all its tries."""
    return "msg_" + base62(_LENGTH)


def webhook_secret() -> str:
    """A new webhook secret's id."""
    return "whs_" + base62(_LENGTH)


def session() -> str:
    """A new session's id; the browser keeps a secret beside it."""
    return "ses_" + base62(_LENGTH)


def batch() -> str:
    """A new batch's id."""
    return "bat_" + base62(_LENGTH)


def upload() -> str:
    """A new upload's id: a picture that a caller brought to start from."""
    return "upload_" + base62(_LENGTH)


def erasure() -> str:
    """A new erasure's id: an object that is to go from the archive."""
    return "era_" + base62(_LENGTH)


def flight() -> str:
    """A new flight's id: one generation that several jobs wait for."""
    return "flt_" + base62(_LENGTH)


def hit_batch() -> str:
    """A new batch of counted cache hits; what was inserted under it is never inserted again."""
    return "hit_" + base62(_LENGTH)
