"""The shapes of the cache on the admin surface: a team's choices, what is held and saved, a purge. Describes."""

from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, UnsetType

from gateway.reuse import choices
from gateway.tenancy.choices import Choices
from service.admin_deeds import Wanted
from service.wire import Credits, Shape, Text

_TTL_TOLD: Final = "How long a picture answers the same request again, in seconds; null: for ever."
_UNSEEDED_TOLD: Final = "Requests without a `seed` are answered again too."
_POOL_TOLD: Final = "Pictures are shared with the other teams that chose so."
_Ttl = Annotated[int, Meta(ge=1, le=choices.TTL_MAX_S, examples=[86400])]


class CacheWanted(Wanted):
    """What shall be different about the reuse of a team's pictures."""

    ttl_s: Annotated[_Ttl | UnsetType | None, Meta(description=f"{_TTL_TOLD} Of what is kept from now on.")] = UNSET
    unseeded: Annotated[bool | UnsetType, Meta(description=_UNSEEDED_TOLD)] = UNSET
    pool: Annotated[bool | UnsetType, Meta(description=_POOL_TOLD)] = UNSET


class CacheChoices(Shape):
    """What a team has chosen about the reuse of its pictures."""

    ttl_s: Annotated[int | None, Meta(description=_TTL_TOLD)]
    unseeded: Annotated[bool, Meta(description=_UNSEEDED_TOLD)]
    pool: Annotated[bool, Meta(description=_POOL_TOLD)]


class PurgeWanted(Wanted):
    """What is taken out of the cache: what is of all that is named; `all` goes alone."""

    team: Text | None = None
    model: Text | None = None
    job_id: Annotated[Text | None, Meta(description="The job whose pictures are handed out again.")] = None
    all: bool = False


class PurgeDone(Shape):
    """What a purge came to."""

    purged: Annotated[int, Meta(ge=0, description="Entries that are gone.")]
    done: Annotated[bool, Meta(description="False: there was more than one request takes; ask again.")]
    immediate: Annotated[
        bool, Meta(description="False: Redis could not be told, and copies may be handed out for up to a minute more.")
    ]


class CacheLine(Shape):
    """What is held for a team and a model, and what that has saved."""

    team: Annotated[Text, Meta(description="The team's name.")]
    team_id: Text
    model: Text
    entries: Annotated[int, Meta(ge=0, description="Requests that are answered again within the team.")]
    shared: Annotated[int, Meta(ge=0, description="Requests that other teams get the team's pictures for.")]
    reused: Annotated[int, Meta(ge=0, description="Answers that cost nothing, since the beginning.")]
    saved: Annotated[Credits, Meta(description="What they would have cost.")]


class CacheReport(Shape):
    """The cache by team and model."""

    cache: list[CacheLine]


def chosen(found: Choices) -> dict[str, Any]:
    """A team's choices."""
    return {"ttlS": found.ttl_s, "unseeded": found.unseeded, "pool": found.pool}


def changed(found: Choices, wanted: CacheWanted) -> Choices:
    """The choices with what is wanted in the place of what was."""
    return Choices(
        ttl_s=found.ttl_s if wanted.ttl_s is UNSET else wanted.ttl_s,
        unseeded=found.unseeded if wanted.unseeded is UNSET else wanted.unseeded,
        pool=found.pool if wanted.pool is UNSET else wanted.pool,
    )
