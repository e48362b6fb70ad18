"""Who administers, and how far that reaches: the operator, or a key with ``admin`` or ``manage``. Pure rules.

No key grants a scope, limit or expiry beyond its own; ``admin`` grants every scope but itself.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from gateway import errors
from gateway.clock import rfc3339
from gateway.tenancy.keys import Key
from gateway.tenancy.scopes import Scope


@dataclass(frozen=True)
class Authority:
    """In whose name something is administered."""

    #: As the audit log names it: ``admin token``, ``key <id>``, ``cli:<user>``.
    actor: str
    #: The key that was shown; none for the operator, whose reach has no end.
    key: Key | None = None

    @property
    def everywhere(self) -> bool:
        """Whether all teams and the installation itself are in reach."""
        return self.key is None or Scope.ADMIN in self.key.scopes

    def reaches(self, team_id: str) -> bool:
        """Whether this team's things are in reach."""
        return self.everywhere or (self.key is not None and self.key.team_id == team_id)


@dataclass(frozen=True)
class Grant:
    """What a key is to be given, or has."""

    scopes: frozenset[Scope]
    rpm: int | None = None
    concurrency: int | None = None
    expires_at: datetime | None = None


def of(key: Key) -> Grant:
    """What the key has."""
    return Grant(key.scopes, key.rpm, key.concurrency, key.expires_at)


def require_everywhere(authority: Authority) -> None:
    """``MissingScope`` for a key that administers its own team alone."""
    if not authority.everywhere:
        raise errors.MissingScope("This key lacks the scope `admin`.")


def within(authority: Authority, wanted: Grant) -> Grant:
    """The grant, with the giver's own limits and expiry where none were asked for; ``NotAllowed`` for one beyond."""
    giver = authority.key
    if giver is None:
        return wanted
    beyond = wanted.scopes - (frozenset(Scope) - {Scope.ADMIN} if authority.everywhere else giver.scopes)
    if beyond:
        named = ", ".join(f"`{scope}`" for scope in sorted(beyond))
        raise errors.NotAllowed(f"This key cannot grant {named}.", param="scopes")
    rpm = _at_most("rpm", wanted.rpm, giver.rpm)
    concurrency = _at_most("concurrency", wanted.concurrency, giver.concurrency)
    expires_at = wanted.expires_at or giver.expires_at
    if expires_at is not None and giver.expires_at is not None and expires_at > giver.expires_at:
        raise errors.NotAllowed(
            f"This key ends at {rfc3339(giver.expires_at)}, and can grant nothing beyond that.", param="expiresAt"
        )
    return replace(wanted, rpm=rpm, concurrency=concurrency, expires_at=expires_at)


def require_over(authority: Authority, key: Key) -> None:
    """``NotAllowed`` for a key that has more than ``authority`` could grant: its new text would be a way to have it."""
    granted = of(key)
    if within(authority, granted) != granted:
        raise errors.NotAllowed("This key has limits or an expiry of its own, and that key has none.")


def _at_most(name: str, wanted: int | None, own: int | None) -> int | None:
    if own is None or wanted is None:
        return own if wanted is None else wanted
    if wanted > own:
        raise errors.NotAllowed(f"This key's own {name} is {own}; it cannot grant more.", param=name)
    return wanted
