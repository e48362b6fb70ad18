"""Which job of the upstream's list belongs to which unknown attempt: a pure rule over both. Asks nobody.

A listed job may be an attempt's if it shows the attempt's model, was created while that attempt's POST could have been
taken, and shows no other prompt. It is the attempt's only if no other reading of the list is possible: the attempts and
jobs that hang together in this way have to be as many, and pair off in one way. Attempts that are the same order of the
same key are interchangeable; theirs pair off in the order of time.

An attempt of which a list that was read whole shows no job that could be its own was not taken.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.upstream.joblist import Listed

#: How a prompt ends that a list shows in part.
_CUT = ("...", "…")


@dataclass(frozen=True)
class Doubt:
    """An attempt that may have been taken by the upstream, as far as this rule looks at it."""

    job_id: str
    number: int
    model: str
    prompt: str | None
    #: The same for attempts at the same order of the same key, and for no others.
    kind: str
    opened_at: datetime
    quiet_at: datetime
    #: Its answer was lost; of others an answer is still awaited, or a settlement was made without one.
    unknown: bool
    #: The job of the list may be given to it now.
    ready: bool = True


@dataclass(frozen=True)
class Seen:
    """What a list showed, its times by our own clock."""

    #: Jobs that no attempt of ours is known to have.
    jobs: tuple[Listed, ...]
    begun_at: datetime
    #: Every job created since then was shown; none if that cannot be said.
    whole_since: datetime | None
    #: By how much the two clocks may differ after all.
    skew: timedelta


@dataclass(frozen=True)
class Decision:
    """What the list tells."""

    matches: tuple[tuple[Doubt, Listed], ...]
    #: Unknown attempts that were not taken, as far as this list tells.
    absent: tuple[Doubt, ...]


def decide(doubts: Sequence[Doubt], seen: Seen) -> Decision:
    """Read the list for all doubts at once; each rival for a job must be among them."""
    edges = [(doubt, job) for doubt in doubts for job in seen.jobs if _fits(doubt, job, seen) and _says(doubt, job)]
    matches = [match for group in _groups(edges) for match in _pair(group, seen)]
    taken = {job.upstream_job_id for _, job in matches}
    found = {(doubt.job_id, doubt.number) for doubt, _ in matches}
    left = [job for job in seen.jobs if job.upstream_job_id not in taken]
    absent = [
        doubt
        for doubt in doubts
        if (doubt.job_id, doubt.number) not in found and _absent(doubt, seen) and not _blocked(doubt, left, seen)
    ]
    return Decision(tuple(matches), tuple(absent))


def _fits(doubt: Doubt, job: Listed, seen: Seen) -> bool:
    """Whether nothing that is shown of model and time speaks against it."""
    if job.model is not None and job.model != doubt.model:
        return False
    if job.created_at is None:
        return True
    return doubt.opened_at - seen.skew <= job.created_at <= doubt.quiet_at + seen.skew


def _says(doubt: Doubt, job: Listed) -> bool:
    """Whether the prompt that is shown is the attempt's; true where none is."""
    if job.prompt is None or doubt.prompt is None:
        return True
    shown, ours = " ".join(job.prompt.split()), " ".join(doubt.prompt.split())
    for cut in _CUT:
        if shown.endswith(cut) and ours.startswith(shown.removesuffix(cut).rstrip()):
            return True
    return shown == ours


def _blocked(doubt: Doubt, left: Iterable[Listed], seen: Seen) -> bool:
    """Whether some job could be its own after all; its prompt does not count, since the upstream may rewrite it."""
    return any(_fits(doubt, job, seen) for job in left)


def _absent(doubt: Doubt, seen: Seen) -> bool:
    if not doubt.unknown or seen.whole_since is None or seen.begun_at < doubt.quiet_at:
        return False
    return seen.whole_since <= doubt.opened_at - seen.skew


@dataclass
class _Group:
    """Attempts and jobs that hang together by what is possible."""

    doubts: list[Doubt]
    jobs: list[Listed]
    fits: set[tuple[str, int, str]]

    def pairs(self, doubt: Doubt, job: Listed) -> bool:
        return (doubt.job_id, doubt.number, job.upstream_job_id) in self.fits


def _groups(edges: Sequence[tuple[Doubt, Listed]]) -> list[_Group]:
    groups: list[_Group] = []
    for doubt, job in edges:
        touched = [group for group in groups if doubt in group.doubts or job in group.jobs]
        merged = _Group([doubt], [job], {(doubt.job_id, doubt.number, job.upstream_job_id)})
        for group in touched:
            merged.doubts += [other for other in group.doubts if other not in merged.doubts]
            merged.jobs += [other for other in group.jobs if other not in merged.jobs]
            merged.fits |= group.fits
        groups = [group for group in groups if group not in touched] + [merged]
    return groups


def _pair(group: _Group, seen: Seen) -> list[tuple[Doubt, Listed]]:
    """The one way in which the group pairs off; nothing where there is none, or more than one."""
    if any(job.model is None or job.created_at is None for job in group.jobs):
        return []
    if not all(doubt.ready for doubt in group.doubts):
        return []
    if len(group.doubts) == len(group.jobs) and (forced := _forced(group)):
        return forced
    return _in_order(group, seen)


def _forced(group: _Group) -> list[tuple[Doubt, Listed]]:
    """Pair what has only one partner left, until all are paired: then no other pairing exists."""
    doubts, jobs = list(group.doubts), list(group.jobs)
    pairs: list[tuple[Doubt, Listed]] = []
    while doubts:
        single = _single(group, doubts, jobs)
        if single is None:
            return []
        pairs.append(single)
        doubts.remove(single[0])
        jobs.remove(single[1])
    return pairs


def _single(group: _Group, doubts: Sequence[Doubt], jobs: Sequence[Listed]) -> tuple[Doubt, Listed] | None:
    for doubt in doubts:
        own = [job for job in jobs if group.pairs(doubt, job)]
        if len(own) == 1:
            return doubt, own[0]
    return None


def _in_order(group: _Group, seen: Seen) -> list[tuple[Doubt, Listed]]:
    """Pair interchangeable attempts by time: whichever gets which, each caller gets what it ordered.

    With fewer jobs than attempts only once none of the missing jobs can still appear.
    """
    same = len({doubt.kind for doubt in group.doubts}) == 1 and all(job.prompt is not None for job in group.jobs)
    if not same or len(group.jobs) > len(group.doubts):
        return []
    if len(group.jobs) < len(group.doubts) and not all(_absent(doubt, seen) for doubt in group.doubts):
        return []
    created: Mapping[str, datetime] = {
        job.upstream_job_id: job.created_at for job in group.jobs if job.created_at is not None
    }
    doubts = sorted(group.doubts, key=lambda doubt: (doubt.opened_at, doubt.job_id))
    pairs: list[tuple[Doubt, Listed]] = []
    for job in sorted(group.jobs, key=lambda job: (created[job.upstream_job_id], job.upstream_job_id)):
        first = next((doubt for doubt in doubts if group.pairs(doubt, job)), None)
        if first is None:
            return []
        pairs.append((first, job))
        doubts.remove(first)
    return pairs
