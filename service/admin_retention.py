"""Retention on the admin surface: what would be erased of a team's, counted before anybody chooses it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from gateway import errors
from gateway.jobs import retention
from gateway.jobs.retention import Retention
from gateway.tenancy import teams
from gateway.tenancy.authority import Authority
from service import retention_shapes
from service.admin_deeds import Ask, Deed, Office, choice, operation, place

_DAYS: Final = MappingProxyType({"type": "integer", "minimum": 1, "maximum": retention.DAYS_MAX})


async def _count(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    del given
    asked = Retention(_days(ask, "picturesDays"), _days(ask, "promptsDays"))
    async with office.database.read() as connection:
        team = await teams.find(connection, ask.named("team"), deleted=True)
        if asked == Retention():
            asked = await retention.of(connection, team.id)
        found = await retention.due(connection, team.id, asked, office.clock.now())
    return retention_shapes.report(team.name, team.id, asked, found)


def _days(ask: Ask, name: str) -> int | None:
    text = ask.text(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= retention.DAYS_MAX):
        raise errors.InvalidParameter(f"{name}: use 1 to {retention.DAYS_MAX} days", param=name)
    return int(text[:9])


COUNT: Final = Deed(
    operation(
        "get",
        "/teams/{team}/retention",
        "CountRetention",
        "Count what is over its time",
        ("What would be erased now; nothing is.", retention_shapes.RetentionReport),
        description=(
            "By the days that are given, as a trial, or without any by those that the team has chosen. "
            "What is in doubt, and what has not ended, is never among it."
        ),
        parameters=(
            place("team", "The team's name or id."),
            choice("picturesDays", "Try so many days for pictures.", **_DAYS),
            choice("promptsDays", "Try so many days for prompts.", **_DAYS),
        ),
        raises=(errors.TeamNotFound,),
    ),
    _count,
)

DEEDS: Final = (COUNT,)
