"""Reading the upstream's list of jobs as far as it is needed, and what may be believed of the reading. Changes no row.

A list is read whole when its pages were followed to its own word that it ends, or, newest first, beyond the time in
question. One that changed meanwhile, that came from a cache, or that hides what an item is, is not whole.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import structlog

from gateway.jobs import pace
from gateway.jobs.parts import Shop
from gateway.upstream import answers, joblist, pacer
from gateway.upstream.joblist import Listed, Page, Silent

#: A reading is given up after so many pages.
MOST_PAGES = 20
#: The upstream's clock is read in whole seconds, and so are the times that it lists.
SKEW = timedelta(seconds=3)
#: Without its clock, what two hosts' clocks may differ by.
BLIND_SKEW = timedelta(minutes=2)
#: All waits for the request budget in one reading.
_PATIENCE_S = 10.0
_BEGINNING = datetime.min.replace(tzinfo=UTC)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Reading:
    """What was read of the list, its times by our own clock."""

    jobs: tuple[Listed, ...]
    begun_at: datetime
    #: Every job created since then was shown; none if that cannot be said.
    whole_since: datetime | None
    skew: timedelta


@dataclass
class _Reader:
    """What one reading has gathered."""

    since: datetime
    #: Ids of ours of which one must be met before the list is believed to be this account's; empty: none is known.
    witnesses: frozenset[str]
    jobs: list[Listed] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    sound: bool = True
    newest_first: bool = True
    skew: timedelta = SKEW
    ended: bool = False

    def take(self, page: Page, asked_at: datetime, answered_at: datetime) -> None:
        offset = timedelta()
        if page.served_at is None:
            self.skew = max(self.skew, BLIND_SKEW)
        else:
            # Its clock was read somewhere between our question and its answer.
            offset = page.served_at - (asked_at + (answered_at - asked_at) / 2)
            self.skew = max(self.skew, SKEW + (answered_at - asked_at))
        self.sound = self.sound and page.clear and not page.stale
        self.ended = page.ended
        for job in page.jobs:
            if job.upstream_job_id in self.ids:
                self.sound = False
                continue
            self.ids.add(job.upstream_job_id)
            created_at = None if job.created_at is None else job.created_at - offset
            last = self.jobs[-1].created_at if self.jobs else None
            if created_at is None or (last is not None and created_at > last + SKEW):
                self.newest_first = False
            self.jobs.append(replace(job, created_at=created_at))

    @property
    def enough(self) -> bool:
        """Whether the time in question is behind, and the list has shown whose it is."""
        oldest = self.jobs[-1].created_at if self.jobs else None
        behind = self.newest_first and oldest is not None and oldest < self.since - 2 * self.skew
        return behind and (not self.witnesses or not self.witnesses.isdisjoint(self.ids))

    def whole_since(self) -> datetime | None:
        if not self.sound or (self.witnesses and self.witnesses.isdisjoint(self.ids)):
            return None
        if self.ended:
            return _BEGINNING
        oldest = self.jobs[-1].created_at if self.jobs else None
        return oldest if self.newest_first else None


async def read(shop: Shop, since: datetime, witnesses: frozenset[str]) -> Reading | Silent | None:
    """Read all jobs created since then; none if the upstream does not answer just now, or the budget has no room."""
    reader = _Reader(since, witnesses)
    begun_at = shop.clock.now()
    query: joblist.Query | None = ()
    asked: set[joblist.Query] = set()
    patience_s = _PATIENCE_S
    while query is not None and query not in asked and len(asked) < MOST_PAGES and not reader.enough:
        asked.add(query)
        while wait_s := await pace.take(shop, pacer.POLL_RESERVE):
            patience_s -= wait_s
            if patience_s < 0:
                return None
            await asyncio.sleep(wait_s)
        asked_at = shop.clock.now()
        page = await shop.upstream.list_jobs(query)
        match page:
            case Silent():
                # A page that was promised and is not there says nothing about the list.
                return page if len(asked) == 1 else None
            case answers.Unreadable():
                log.warning("job_list_unreadable", reason=page.reason)
                return None
        reader.take(page, asked_at, shop.clock.now())
        query = page.following
    return Reading(tuple(reader.jobs), begun_at, reader.whole_since(), reader.skew)


def complete(reading: Reading, known: Sequence[tuple[str, datetime]]) -> bool:
    """Whether the list shows each of these jobs of ours, by their ids and intents: else it lags, or hides some."""
    shown = {job.upstream_job_id for job in reading.jobs}
    since = reading.whole_since
    return since is not None and all(
        upstream_job_id in shown for upstream_job_id, opened_at in known if opened_at > since + reading.skew
    )
