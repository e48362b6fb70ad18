"""Making HTML of templates: every text is escaped, a missing name is an error, and nothing in a page may run.

A template is a page, and each of its blocks is also a fragment that htmx can ask for. Knows no request.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Response
from markupsafe import Markup

from gateway import clock, money
from service.console.assets import Assets

#: Own scripts and styles alone, no frame around a page, no form to another site.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": POLICY,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
        # Our own pages must be able to say where they come from: see `forms.require_own`.
        "Referrer-Policy": "same-origin",
        "X-Frame-Options": "DENY",
        "Vary": "Cookie, HX-Request",
    }
)
#: The collections of macros, by the names that templates call them by.
_MACROS: Final = MappingProxyType({"ui": "pieces.html", "narrow": "filters.html", "plotted": "plot.html"})
_TEXT: Final = "text/html"
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400
#: Above this an age is told in days.
_HOURS_MAX_S: Final = 2 * _DAY_S


@dataclass(frozen=True)
class Paper:
    """The templates, ready to be filled."""

    environment: Environment
    assets: Assets

    def page(self, template: str, context: Mapping[str, Any], status: int = 200) -> Response[str]:
        """A whole page."""
        return answer(self.environment.get_template(template).render(context), status)

    def fragment(self, template: str, block: str, context: Mapping[str, Any], status: int = 200) -> Response[str]:
        """One block of a page, to take its place there."""
        found = self.environment.get_template(template)
        return answer("".join(found.blocks[block](found.new_context(dict(context)))), status)


def answer(html: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response[str]:
    """An answer with that HTML, under the console's headers."""
    return Response(html, status_code=status, media_type=_TEXT, headers={**HEADERS, **(headers or {})})


def leave(to: str, headers: Mapping[str, str] | None = None) -> Response[str]:
    """Send the browser on to another page, which it asks for anew."""
    return Response("", status_code=303, media_type=_TEXT, headers={**HEADERS, "Location": to, **(headers or {})})


def unfold(assets: Assets) -> Paper:
    """Open the templates."""
    environment = Environment(
        loader=PackageLoader("service.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["asset"] = assets.url
    environment.filters.update(
        credits=_credits, micros=credits_of, moment=_moment, ago=_ago, seconds=_seconds, bytes=_bytes, words=_words
    )
    for name, template in _MACROS.items():
        # Global, and not imported by each template: a block that is rendered alone runs none of its page's imports.
        environment.globals[name] = environment.get_template(template).module
    return Paper(environment, assets)


def credits_of(amount_micros: int) -> str:
    """An amount of micro-credits as people read it."""
    return _credits(money.credits(amount_micros))


def _credits(amount: float | Decimal) -> str:
    """An amount with its thousands apart, and no more places than it has."""
    exact = Decimal(str(amount))
    whole = exact.to_integral_value()
    return f"{whole:,f}" if whole == exact else f"{exact.normalize():,f}"


def _at(when: datetime | str) -> datetime:
    return (datetime.fromisoformat(when) if isinstance(when, str) else when).astimezone(UTC)


def _moment(when: datetime | str | None, *, seconds: bool = False) -> Markup | str:
    """A moment as people read it, and as machines do."""
    if when is None:
        return "none"
    at = _at(when)
    shown = f"{at.day} {at:%b %Y, %H:%M:%S}" if seconds else f"{at.day} {at:%b, %H:%M}"
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        clock.rfc3339(at), f"{at:%Y-%m-%d %H:%M:%S}", shown
    )


def _ago(when: datetime | str | None, now: datetime) -> Markup | str:
    """How long ago, or how soon, a moment is."""
    if when is None:
        return "never"
    at = _at(when)
    passed_s = (now - at).total_seconds()
    said = f"{_seconds(passed_s)} ago" if passed_s >= 1 else "now" if passed_s > -1 else f"in {_seconds(-passed_s)}"
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        clock.rfc3339(at), f"{at:%Y-%m-%d %H:%M:%S}", said
    )


def _seconds(duration_s: float) -> str:
    """A duration in the unit that fits it."""
    if duration_s < _MINUTE_S:
        return f"{duration_s:.1f} s" if duration_s < 10 and duration_s % 1 else f"{duration_s:.0f} s"
    if duration_s < _HOUR_S:
        minutes, rest_s = divmod(int(duration_s), _MINUTE_S)
        return f"{minutes} min {rest_s} s" if rest_s and minutes < 10 else f"{minutes} min"
    if duration_s < _HOURS_MAX_S:
        hours, rest_s = divmod(int(duration_s), _HOUR_S)
        return f"{hours} h {rest_s // _MINUTE_S} min" if rest_s >= _MINUTE_S else f"{hours} h"
    return f"{duration_s / _DAY_S:.0f} days"


def _bytes(size: int) -> str:
    for unit, factor in (("MB", 1_000_000), ("kB", 1_000)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def _words(name: str) -> str:
    """A name out of code as a person writes it."""
    text = name.replace("_", " ").replace(".", " ")
    return text[:1].upper() + text[1:]
