"""Who is looking at a page: a session by its cookie, what its key may do, and which team the page is about.

A page shows and does what its session's key may over the API, through the same functions. Renders nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from litestar import Request

from gateway import errors
from gateway.bootstrap import House
from gateway.jobs.accept import Caller
from gateway.tenancy import recognition, sessions, teams
from gateway.tenancy.authority import Authority
from gateway.tenancy.scopes import Scope
from gateway.tenancy.sessions import Session
from gateway.tenancy.teams import Team
from service import callers, front
from service.admin_deeds import Ask, Csv, Deed, Office
from service.console import forms
from service.console.forms import Form

#: Where a handler says which scopes it asks for, any of them; see ``handlers``.
SCOPES: Final = "console_scopes"
_SECURE_NAME: Final = "__Host-torii"
_PLAIN_NAME: Final = "torii_session"


@dataclass(frozen=True)
class Visit:
    """One request of somebody who is signed in."""

    request: Request[Any, Any, Any]
    house: House
    session: Session
    authority: Authority
    #: None for the admin token, which orders nothing.
    asker: recognition.Caller | None
    #: The team that the page is about; none where an operator has chosen none.
    team: Team | None
    now: datetime

    @property
    def operator(self) -> bool:
        """Whether all teams and the installation itself are in reach."""
        return self.authority.everywhere

    @property
    def own(self) -> bool:
        """Whether the page is about the team of the key that is signed in."""
        return self.asker is not None and self.team is not None and self.asker.team.id == self.team.id

    def may(self, *scopes: Scope) -> bool:
        """Whether the session has one of these; an operator has each, but orders with a key of the team's alone."""
        held = frozenset[Scope]() if self.asker is None else self.asker.scopes
        if self.operator:
            held |= {Scope.READ, Scope.MANAGE, Scope.ADMIN}
        if not self.own:
            held -= {Scope.GENERATE}
        return not held.isdisjoint(scopes)

    @property
    def can_order(self) -> bool:
        """Whether pictures of this team can be ordered here."""
        return self.may(Scope.GENERATE)

    @property
    def caller(self) -> Caller:
        """On whose behalf the house orders; ``MissingScope`` for the admin token."""
        return callers.caller(self.asked_by.key)

    @property
    def asked_by(self) -> recognition.Caller:
        """The key that asks, with what its team is held to; ``MissingScope`` for the admin token."""
        if self.asker is None:
            raise errors.MissingScope("The admin token orders nothing. Sign in with a key of a team.")
        return self.asker

    @property
    def own_key_alone(self) -> str | None:
        """The key whose jobs alone are shown, for one that may not read its team's."""
        return None if self.asker is None or self.may(Scope.READ) else self.asker.key.id

    @property
    def of_team(self) -> Team:
        """The team of the page; ``TeamNotFound`` where none was chosen."""
        if self.team is None:
            raise errors.TeamNotFound("Choose a team first.", param="team")
        return self.team

    @property
    def in_htmx(self) -> bool:
        """Whether a part of a page is asked for, and not a page."""
        return self.request.headers.get("hx-request") == "true"

    async def carry_out(
        self,
        deed: Deed,
        path: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> Mapping[str, Any]:
        """A deed of the admin surface, in this session's name: the rules and the records are that surface's own."""
        if not self.may(Scope.ADMIN, Scope.MANAGE):
            raise errors.MissingScope("This key lacks the scope `admin` or `manage`.")
        house = self.house
        office = Office(house.settings, house.keys, house.database, house.catalogue, house.clock, house.redis)
        asked = {name: text for name, text in (query or {}).items() if text}
        told = await deed.carry_out(office, self.authority, Ask(path or {}, asked, body or {}))
        if isinstance(told, Csv):
            raise errors.InternalError
        return told


async def enter(request: Request[Any, Any, Any]) -> Visit:
    """The visit of a request, if its session may see the page at all.

    Raises ``NotAuthenticated`` without a living session, ``MissingScope``, ``TeamNotFound`` or ``StoreUnavailable``.
    """
    house = front.of(request).house
    session = await _session(request, house)
    if session is None:
        raise errors.NotAuthenticated
    asker = None if session.key_id is None else await house.recogniser.recall(session.key_id)
    authority = Authority("admin token") if asker is None else Authority(f"key {asker.key.id}", asker.key)
    structlog.contextvars.bind_contextvars(actor=authority.actor)
    team = await _team(request, house, asker, authority)
    visit = Visit(request, house, session, authority, asker, team, house.clock.now())
    scopes: Sequence[Scope] = request.route_handler.opt[SCOPES]
    if scopes and not visit.may(*scopes):
        raise errors.MissingScope(f"This key lacks the scope {' or '.join(f'`{scope}`' for scope in scopes)}.")
    return visit


async def submit(request: Request[Any, Any, Any]) -> tuple[Visit, Form]:
    """As ``enter``, for a form, which must come from a page of this very session; else ``NotAllowed``."""
    forms.require_own(request)
    visit = await enter(request)
    form = await forms.read(request)
    forms.require_token(form, visit.session.csrf)
    return visit, form


async def leave(request: Request[Any, Any, Any]) -> None:
    """End the session that a browser shows, if it has one."""
    house = front.of(request).house
    session = await _session(request, house)
    if session is not None:
        async with house.database.write() as tx:
            await sessions.end(tx, session.id)


def cookie(house: House, text: str | None) -> str:
    """The header that has a browser keep a session's text, or forget it."""
    secure = house.settings.public_url.startswith("https://")
    # Lax, not Strict: a link to a job in somebody's chat opens signed in. What changes anything asks for more.
    words = [f"{_name(house)}={text or ''}", f"Path={'/' if secure else '/console'}", "HttpOnly", "SameSite=Lax"]
    words.append(f"Max-Age={int(sessions.LIFE.total_seconds()) if text else 0}")
    if secure:
        words.append("Secure")
    return "; ".join(words)


async def _session(request: Request[Any, Any, Any], house: House) -> Session | None:
    text = request.cookies.get(_name(house))
    if not text:
        return None
    tokens = [token.get_secret_value() for token in house.settings.admin_token]
    # A page that is left open asks by itself for what changes, and listens; that alone keeps no session awake.
    listens = request.headers.get("accept") == "text/event-stream"
    by_itself = request.method == "GET" and (listens or request.headers.get("hx-request") == "true")
    return await sessions.find(house.database, house.keys.sessions, tokens, text, house.clock.now(), used=not by_itself)


def _name(house: House) -> str:
    return _SECURE_NAME if house.settings.public_url.startswith("https://") else _PLAIN_NAME


async def _team(
    request: Request[Any, Any, Any], house: House, asker: recognition.Caller | None, authority: Authority
) -> Team | None:
    """The team that the address names, if it is in reach, else the key's own."""
    named = (request.query_params.get("team") or None) if authority.everywhere else None
    if named is None and asker is None:
        return None
    if named is not None and not named.isprintable():
        raise errors.TeamNotFound(param="team")
    async with house.database.read() as connection:
        return await teams.find(connection, named or ("" if asker is None else asker.team.id))
