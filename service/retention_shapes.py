"""The shapes of retention on the admin surface: what a team keeps, and what is over its time. Describes."""

from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, UnsetType

from gateway.jobs import retention
from gateway.jobs.retention import Due, Retention
from service import admin_views
from service.admin_deeds import Wanted
from service.wire import At, Shape, Text

_PICTURES_TOLD: Final = "Days from a job's end after which its pictures are erased; null: never."
_PROMPTS_TOLD: Final = "Days from a job's end after which what it was asked for is erased; null: never."
_Days = Annotated[int, Meta(ge=1, le=retention.DAYS_MAX, examples=[90])]


class RetentionWanted(Wanted):
    """What shall be different about how long a team keeps things."""

    pictures_days: Annotated[_Days | UnsetType | None, Meta(description=_PICTURES_TOLD)] = UNSET
    prompts_days: Annotated[_Days | UnsetType | None, Meta(description=_PROMPTS_TOLD)] = UNSET


class RetentionChoices(Shape):
    """How long a team keeps things."""

    pictures_days: Annotated[int | None, Meta(description=_PICTURES_TOLD)]
    prompts_days: Annotated[int | None, Meta(description=_PROMPTS_TOLD)]


class RetentionReport(RetentionChoices):
    """What is over its time at this moment, and is erased next; nothing is erased by asking."""

    team: Annotated[Text, Meta(description="The team's name.")]
    team_id: Text
    picture_jobs: Annotated[int, Meta(ge=0, description="Jobs whose pictures are over their time.")]
    pictures: Annotated[int, Meta(ge=0)]
    picture_bytes: Annotated[int, Meta(ge=0, description="As if no other job showed them.")]
    prompts: Annotated[int, Meta(ge=0, description="Jobs whose prompts are over their time.")]
    oldest_ended_at: Annotated[At | None, Meta(description="The end of the first job among them.")]


def chosen(found: Retention) -> dict[str, Any]:
    """What a team keeps."""
    return {"picturesDays": found.pictures_days, "promptsDays": found.prompts_days}


def changed(found: Retention, wanted: RetentionWanted) -> Retention:
    """The choice with what is wanted in the place of what was."""
    return Retention(
        pictures_days=found.pictures_days if wanted.pictures_days is UNSET else wanted.pictures_days,
        prompts_days=found.prompts_days if wanted.prompts_days is UNSET else wanted.prompts_days,
    )


def report(team_name: str, team_id: str, asked: Retention, found: Due) -> dict[str, Any]:
    """What is over its time."""
    return {
        "team": team_name,
        "teamId": team_id,
        **chosen(asked),
        "pictureJobs": found.picture_jobs,
        "pictures": found.pictures,
        "pictureBytes": found.picture_bytes,
        "prompts": found.prompts,
        "oldestEndedAt": admin_views.moment_ms(found.oldest_at),
    }
