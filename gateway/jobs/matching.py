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
    #: Jobs that nobody remembers may be listed beside it, and its prompt was not to be reworded; see ``rescue``.
    by_prompt: bool = False


def _key(doubt: Doubt) -> tuple[str, int]:
    return doubt.job_id, doubt.number


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
    #: It shows prompts as they were sent, as far as jobs of ours can tell.
    verbatim: bool = False


@dataclass(frozen=True)
class Decision:
    """What the list tells."""

    matches: tuple[tuple[Doubt, Listed], ...]
    #: Unknown attempts that were not taken, as far as this list tells.
    absent: tuple[Doubt, ...]


def decide(doubts: Sequence[Doubt], seen: Seen) -> Decision:
    """Read the list for all doubts at once; each rival for a job must be among them."""
    jobs = [(job, _words(job.prompt)) for job in seen.jobs]
    edges = [
        (doubt, job)
        for doubt, ours in ((doubt, _words(doubt.prompt)) for doubt in doubts)
        for job, shown in jobs
        if _fits(doubt, job, seen) and _says(ours, shown)
    ]
    matches = [match for group in _groups(edges) for match in _pair(group, seen)]
    taken = {job.upstream_job_id for _, job in matches}
    found = {_key(doubt) for doubt, _ in matches}
    left = [job for job in seen.jobs if job.upstream_job_id not in taken]
    absent = [
        doubt
        for doubt in doubts
        if _key(doubt) not in found and _absent(doubt, seen) and not _blocked(doubt, left, seen)
    ]
    return Decision(tuple(matches), tuple(absent))


def _fits(doubt: Doubt, job: Listed, seen: Seen) -> bool:
    """Whether nothing that is shown of model and time speaks against it."""
    if job.model is not None and job.model != doubt.model:
        return False
    if job.created_at is None:
        return True
    return doubt.opened_at - seen.skew <= job.created_at <= doubt.quiet_at + seen.skew


def _words(prompt: str | None) -> str | None:
    return None if prompt is None else " ".join(prompt.split())


def _says(ours: str | None, shown: str | None) -> bool:
    """Whether the prompt that is shown is the attempt's; true where none is."""
    if shown is None or ours is None:
        return True
    for cut in _CUT:
        if shown.endswith(cut) and ours.startswith(shown.removesuffix(cut).rstrip()):
            return True
    return shown == ours


def _blocked(doubt: Doubt, left: Iterable[Listed], seen: Seen) -> bool:
    """Whether some job could be its own after all; its prompt does not count, since the upstream may rewrite it.

    After a restore jobs of others' orders are listed that no record has, and would block for ever: there a prompt tells
    them apart, if this list is seen to show prompts as they were sent.
    """
    by_prompt = doubt.by_prompt and seen.verbatim
    ours = _words(doubt.prompt)
    return any(_fits(doubt, job, seen) and not (by_prompt and not _says(ours, _words(job.prompt))) for job in left)


def verbatim(prompts: Iterable[tuple[str | None, str | None]]) -> bool:
    """Whether a list shows prompts as they were sent: by those sent and shown of jobs that are surely ours."""
    pairs = [(_words(sent), _words(shown)) for sent, shown in prompts]
    return bool(pairs) and all(sent is not None and shown is not None and _says(sent, shown) for sent, shown in pairs)


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
        return (*_key(doubt), job.upstream_job_id) in self.fits


def _groups(edges: Sequence[tuple[Doubt, Listed]]) -> list[_Group]:
    """What hangs together, found in time that grows with the edges alone: a list without times makes very many."""
    by_doubt: dict[tuple[str, int], tuple[Doubt, list[Listed]]] = {}
    by_job: dict[str, list[tuple[str, int]]] = {}
    for doubt, job in edges:
        by_doubt.setdefault(_key(doubt), (doubt, []))[1].append(job)
        by_job.setdefault(job.upstream_job_id, []).append(_key(doubt))
    groups: list[_Group] = []
    while by_doubt:
        group = _Group([], [], set())
        waiting = [next(iter(by_doubt))]
        while waiting:
            found = by_doubt.pop(waiting.pop(), None)
            if found is None:
                continue
            doubt, jobs = found
            group.doubts.append(doubt)
            for job in jobs:
                group.fits.add((*_key(doubt), job.upstream_job_id))
                rivals = by_job.pop(job.upstream_job_id, None)
                if rivals is not None:
                    group.jobs.append(job)
                    waiting += rivals
        groups.append(group)
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
    doubts, jobs = {_key(doubt): doubt for doubt in group.doubts}, {job.upstream_job_id: job for job in group.jobs}
    partners: dict[tuple[str, int], set[str]] = {key: set() for key in doubts}
    rivals: dict[str, set[tuple[str, int]]] = {job_id: set() for job_id in jobs}
    for doubt_id, number, job_id in group.fits:
        partners[doubt_id, number].add(job_id)
        rivals[job_id].add((doubt_id, number))
    pairs: list[tuple[Doubt, Listed]] = []
    single = [key for key, own in partners.items() if len(own) == 1]
    while single:
        key = single.pop()
        if not partners[key]:
            return []
        (job_id,) = partners[key]
        pairs.append((doubts[key], jobs[job_id]))
        for rival in rivals[job_id] - {key}:
            partners[rival].discard(job_id)
            if len(partners[rival]) == 1:
                single.append(rival)
    return pairs if len(pairs) == len(doubts) else []


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
