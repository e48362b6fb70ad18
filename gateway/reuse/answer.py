"""What a request is answered with again: a completed job and its pictures. Frozen values; reads nothing."""

from datetime import datetime

import msgspec


class Picture(msgspec.Struct, frozen=True, array_like=True):
    """One archived picture, with all that a view and a look into the archive need."""

    id: str
    object_key: str
    extension: str
    content_type: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    seed: int | None


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """A job that was made for the same request. ``array_like``: fields are only ever added at the end."""

    #: Of two answers to one request the newer has the higher.
    version: int
    team_id: str
    #: The first key of the chain whose key ordered it.
    key_id: str
    job_id: str
    model: str
    #: What it saves, in micro-credits.
    cost_micros: int
    ordered_at: datetime
    completed_at: datetime
    #: Since when it answers this request; its age is counted from here.
    kept_at: datetime
    #: From when on it does not any more; none for never.
    expires_at: datetime | None
    #: When its pictures were last seen in the archive, as far as SQL was told.
    checked_at: datetime
    pictures: tuple[Picture, ...]

    def age_s(self, now: datetime) -> int:
        """Its age in whole seconds, never negative."""
        return max(int((now - self.kept_at).total_seconds()), 0)

    def left_s(self, now: datetime) -> int | None:
        """For how many more whole seconds it is good; none for ever."""
        if self.expires_at is None:
            return None
        return max(int((self.expires_at - now).total_seconds()), 0)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Answer)


def encode(answer: Answer) -> bytes:
    """The answer as bytes for Redis."""
    return _ENCODER.encode(answer)


def decode(data: bytes) -> Answer | None:
    """The answer of those bytes; none if they are not one of this release's."""
    try:
        return _DECODER.decode(data)
    except msgspec.MsgspecError:
        return None
