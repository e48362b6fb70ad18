"""Every Redis key, spelled once. The number after the name is the version of what is stored under it.

Nothing here is a record: each key may vanish at any moment and only time is lost (``noeviction`` is still wise,
since arq's queue is among them).
"""

PREFIX = "torii:1:"

#: arq's queue: a sorted set of message ids by the time they are due.
QUEUE = PREFIX + "queue"
#: arq's own liveness key.
QUEUE_HEALTH = PREFIX + "queue:health"
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
