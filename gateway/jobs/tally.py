"""How many jobs ended in which way: rows that grow in the transaction of the end itself. Ends nothing."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs.record import Job
from gateway.storage import statements, tables


@dataclass(frozen=True)
class Ended:
    """An end to be counted: the job, its outcome, and how many paid pictures of it were lost."""

    job: Job
    outcome: str
    images_lost: int = 0


async def count(tx: AsyncConnection, ends: Iterable[Ended]) -> None:
    """Count ends, all in one statement. Counts only grow: a job that failed as unknown and was found counts twice."""
    jobs, lost = Counter[tuple[str, str, str]](), Counter[tuple[str, str, str]]()
    for end in ends:
        which = (end.job.team_id, end.job.model, str(end.outcome))
        jobs[which] += 1
        lost[which] += end.images_lost
    rows = [
        {"team_id": team_id, "model": model, "outcome": outcome, "jobs": jobs[which], "images_lost": lost[which]}
        for which in jobs
        for team_id, model, outcome in [which]
    ]
    if rows:
        await statements.upsert(tx, tables.outcomes, rows, add=("jobs", "images_lost"))
