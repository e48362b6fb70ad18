"""How objects are called in the archive, as pure functions. Never looks whether one is there.

A key says whose picture it is and when its job was made, so that an operator finds it without the database. It is a
function of the job alone: archiving again after a crash writes the same key with the same bytes.
"""

import re
from datetime import UTC, datetime

#: Plain segments that begin with no dot: neither ``..`` nor a name of the folder's own can be spelled.
_KEY = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}/)*[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}")
_WORD = re.compile(r"[A-Za-z0-9_-]{1,100}")


def checked(key: str) -> str:
    """The key itself; raises ``ValueError`` for one that could leave the archive or collide with its own files."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a key of the archive: {key!r}")
    return key


def picture(team_id: str, job_id: str, position: int, extension: str, created_at: datetime) -> str:
    """Where the picture at ``position`` (0 for the first) of a job created at ``created_at`` lies."""
    return f"{_stem(team_id, job_id, position, created_at)}.{_word(extension)}"


def upload(team_id: str, upload_id: str, extension: str, created_at: datetime) -> str:
    """Where the picture lies that a team brought under that id."""
    return f"uploads/{_word(team_id)}/{created_at.astimezone(UTC):%Y/%m/%d}/{_word(upload_id)}.{_word(extension)}"


def sidecar(team_id: str, job_id: str, position: int, created_at: datetime) -> str:
    """Where the JSON that describes that picture lies: beside it."""
    return f"{_stem(team_id, job_id, position, created_at)}.json"


def thumbnail(picture_key: str) -> str:
    """Where the small copy of the picture of that key lies, once it was asked for: beside it."""
    folder, _, name = checked(picture_key).rpartition("/")
    small = f"{name.rpartition('.')[0] or name}.thumb.webp"
    return f"{folder}/{small}" if folder else small


def beside(picture_key: str) -> str:
    """Where the JSON beside the picture of that key lies."""
    folder, _, name = checked(picture_key).rpartition("/")
    described = f"{name.rpartition('.')[0] or name}.json"
    return f"{folder}/{described}" if folder else described


def saved_as(key: str) -> str:
    """What a file is called that is made of that object: its last two segments, which are enough to find it again."""
    return "-".join(checked(key).split("/")[-2:])


def _stem(team_id: str, job_id: str, position: int, created_at: datetime) -> str:
    if position < 0:
        raise ValueError(f"not a position: {position}")
    day = created_at.astimezone(UTC).strftime("%Y/%m/%d")
    return f"pictures/{_word(team_id)}/{day}/{_word(job_id)}/{position}"


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ValueError(f"not a part of a key of the archive: {text!r}")
    return text
