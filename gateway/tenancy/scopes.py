"""What a key may do. Pure; a scope grants what its sentence says and nothing else."""

from enum import StrEnum

from gateway import errors


class Scope(StrEnum):
    """The scopes of a key."""

    #: Order and quote pictures, read the key's own jobs.
    GENERATE = "generate"
    #: Read all jobs of the team.
    READ = "read"
    #: Manage the team's keys and webhooks, delete its jobs.
    MANAGE = "manage"
    #: Everything, for all teams; only the admin token mints it.
    ADMIN = "admin"


#: What a key has when nothing else is asked for: a service orders pictures and sees its team's.
DEFAULT = frozenset({Scope.GENERATE, Scope.READ})


def parse(names: list[str]) -> frozenset[Scope]:
    """The scopes of that spelling; ``InvalidParameter`` names the first that does not exist."""
    known = {scope.value for scope in Scope}
    for name in names:
        if name not in known:
            raise errors.InvalidParameter(
                f"scope: {name[:40]!r} is not one of {', '.join(sorted(known))}", param="scope"
            )
    return frozenset(Scope(name) for name in names)


def spell(scopes: frozenset[Scope]) -> str:
    """The scopes as one column holds them."""
    return " ".join(sorted(scopes))


def read(column: str) -> frozenset[Scope]:
    """The scopes of a column."""
    return frozenset(Scope(name) for name in column.split())
