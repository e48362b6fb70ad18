"""Where one HTTP/1.1 answer ends in a buffer: just enough for a load generator on a keep-alive connection. Pure."""

import re
from dataclasses import dataclass

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
#: Of ``HTTP/1.1 202 Accepted``.
_STATUS = slice(9, 12)


class UnreadableAnswer(ValueError):
    """An answer without a ``Content-Length``: nothing that is measured here sends one."""


@dataclass(frozen=True)
class Answer:
    """One whole answer at the beginning of a buffer."""

    status: int
    body: bytes
    #: How much of the buffer it takes.
    size_bytes: int


def first(buffer: bytes) -> Answer | None:
    """The first answer in the buffer; none while it has not arrived as a whole."""
    head_end = buffer.find(_HEAD_END)
    if head_end < 0:
        return None
    found = _LENGTH.search(buffer, 0, head_end)
    if found is None:
        raise UnreadableAnswer(buffer[:head_end].decode(errors="replace"))
    begin = head_end + len(_HEAD_END)
    end = begin + int(found.group(1))
    if len(buffer) < end:
        return None
    return Answer(int(buffer[_STATUS]), buffer[begin:end], end)
