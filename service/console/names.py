"""What an address may call a thing: anything else names nothing of ours. Pure."""

import re
from typing import Final

from gateway import errors

#: PostgreSQL refuses texts that hold U+0000, and no id of ours has more signs than this.
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,60}", re.ASCII)


def checked_id(text: str) -> str:
    """A text that may be an id; ``JobNotFound`` for what can be none."""
    if not _ID.fullmatch(text):
        raise errors.JobNotFound
    return text
