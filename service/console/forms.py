"""What a page's form sent: read within the bounds of every body, and spelled as text. Knows no page.

A form without its session's token, or one that another site made a browser send, is not read at all.
"""

import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from litestar import Request

from gateway import errors
from service import bodies

#: The hidden field of each form.
FIELD: Final = "csrf"
FIELDS_MAX: Final = 200
_TYPE: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Form(Mapping[str, str]):
    """The fields by name, without blanks around their texts; of a name given twice the last counts."""

    fields: Mapping[str, Sequence[str]]

    def __getitem__(self, name: str) -> str:
        return self.fields[name][-1].strip()

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def text(self, name: str) -> str | None:
        """A field that says something, else none."""
        return self.get(name) or None

    def all(self, name: str) -> Sequence[str]:
        """Each value of a field, as of boxes that were ticked."""
        return self.fields.get(name, ())

    def amount(self, name: str) -> float | None:
        """A number of credits; ``InvalidParameter`` for what is none."""
        text = self.text(name)
        try:
            return None if text is None else float(text)
        except ValueError:
            raise errors.InvalidParameter(f"{name}: use a number such as 500 or 2.5", param=name) from None

    def count(self, name: str) -> int | None:
        """A whole number; ``InvalidParameter`` for what is none."""
        text = self.text(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise errors.InvalidParameter(f"{name}: use a whole number", param=name)
        return int(text)


async def read(request: Request[Any, Any, Any]) -> Form:
    """The form of a request's body. Raises ``UnsupportedMediaType``, ``MalformedBody`` or what ``bodies.read`` does."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _TYPE:
        raise errors.UnsupportedMediaType("This page takes forms alone.")
    try:
        pairs = parse_qsl(
            (await bodies.read(request)).decode(), keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX
        )
    except ValueError:
        raise errors.MalformedBody("The form cannot be read.") from None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        # As each line of a text field is sent, and as everything else here spells a line's end.
        fields.setdefault(name, []).append(value.replace("\r\n", "\n"))
    return Form(fields)


def require_own(request: Request[Any, Any, Any]) -> None:
    """``NotAllowed`` for a request that another site's page had a browser send.

    Browsers say so in ``Sec-Fetch-Site``, and where they cannot, by ``Origin``; what says neither is no browser's form.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        own = site == "same-origin"
    else:
        origin = urlsplit(request.headers.get("origin", ""))
        own = origin.scheme in ("http", "https") and origin.netloc == request.headers.get("host")
    if not own:
        raise errors.NotAllowed("This was sent from another site's page. Open the console and do it there.")


def require_token(form: Form, token: str) -> None:
    """``NotAllowed`` for a form that is not of this session."""
    shown = form.get(FIELD, "").encode(errors="surrogateescape")
    if not hmac.compare_digest(shown, token.encode()):
        raise errors.NotAllowed("This form is from an earlier sign-in. Go back, load the page anew, and send it again.")
