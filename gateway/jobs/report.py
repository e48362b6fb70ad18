"""Where the credits went, and which did not have to go: the ledger's sums beside what reuse has saved. Reads.

An answer that cost nothing has no entry in the ledger, so the two are added up apart and laid side by side here. It
counts for the day on which it was given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.ledger import usage
from gateway.ledger.usage import By, Span, Usage
from gateway.reuse import standing
from gateway.reuse.standing import Savings

#: A hit is counted for its team: of keys nothing is known.
_BY: Final = MappingProxyType({By.TEAM: ("team_id",), By.MODEL: ("model",), By.DAY: ("day",)})


@dataclass(frozen=True, slots=True)
class Line:
    """One group: what it used, and what it was spared; none where that is not known of such a group."""

    used: Usage
    spared: Savings | None


@dataclass(frozen=True, slots=True)
class Report:
    """All groups in order, and the sums of all."""

    lines: Sequence[Line]
    total: Line


async def report(connection: AsyncConnection, by: By, span: Span) -> Report:
    """The usage and the savings of each group that has any."""
    used = {each.group: each for each in await usage.summed(connection, by, span)}
    within = standing.Span(span.team_id, since=span.since, until=span.until)
    columns = _BY.get(by)
    spared = {} if columns is None else await standing.saved(connection, columns, within)
    lines = [
        Line(
            used.get(group, Usage(group)),
            None if columns is None else spared.get(group, Savings()),
        )
        for group in sorted({*used, *spared})
    ]
    everything = (await standing.saved(connection, (), within)).get((), Savings())
    return Report(lines, Line(usage.total(list(used.values())), everything))
