"""Every Redis key, spelled once. The number after the name is the version of what is stored under it.

Nothing here is a record: each key may vanish at any moment and only time is lost (``noeviction`` is still wise,
since arq's queue is among them).
"""

PREFIX = "torii:1:"

#: arq's queue: a sorted set of message ids by the time they are due.
QUEUE = PREFIX + "queue"
#: arq's own liveness key.
QUEUE_HEALTH = PREFIX + "queue:health"
#: A channel, not a key: the ids of jobs that look different to their callers now.
CHANGED = PREFIX + "changed"
#: The upstream's request budget: a hash with ``tokens`` and ``at_ms``.
PACE = PREFIX + "pace"
#: Set while the upstream asked everyone to wait (429); expires by itself.
PACE_HALT = PREFIX + "pace:halt"


def team_rate(team_id: str) -> str:
    """A team's new generations of the last minute: a hash from the second to how many. Braces: one cluster slot."""
    return f"{PREFIX}rate:{{{team_id}}}"


def key_rate(team_id: str, key_id: str) -> str:
    """The same for one of its keys."""
    return f"{PREFIX}rate:{{{team_id}}}:{key_id}"


def team_upload_rate(team_id: str) -> str:
    """The uploads that a team brought in the last minute, as ``team_rate``."""
    return f"{PREFIX}upload-rate:{{{team_id}}}"


def key_upload_rate(team_id: str, key_id: str) -> str:
    """The same for one of its keys."""
    return f"{PREFIX}upload-rate:{{{team_id}}}:{key_id}"


#: The braces keep all that one script touches in one cluster slot.
_REUSE = PREFIX + "{reuse}:"
#: Cache hits since they were last taken over: a hash with how many (``n``) and micro-credits (``m``) by who and when.
HITS = _REUSE + "hits"
#: The ids of batches that were taken out of ``HITS`` and may not be in SQL yet.
HIT_BATCHES = _REUSE + "hits:batches"
#: There while no new batch shall be made: all workers together make one every two seconds.
HITS_TAKEN = _REUSE + "hits:taken"


def hit_batch(batch_id: str) -> str:
    """One batch of hits, as ``HITS`` was when it was taken."""
    return f"{_REUSE}hits:{batch_id}"


def cached(scope: str, fingerprint: str) -> str:
    """What answers a request again: a hash with its version, what it saves and the answer; or that it is purged."""
    return f"{_REUSE}entry:{scope}:{fingerprint}"


def snapshot(team_id: str, job_id: str) -> str:
    """An ended job of the team as its callers see it: a hash with its version and itself; or that it was erased."""
    return f"{PREFIX}job:1:{team_id}:{job_id}"
