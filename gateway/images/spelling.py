"""Other people's words inside our messages: shown short and harmless, and the known word nearest to a misspelt one.

Never shows more than ``SHOWN_CHARACTERS`` of a value, and never a character that could break a log line or an encoder.
"""

import difflib
from collections.abc import Iterable

SHOWN_CHARACTERS = 60
#: Integers of more bits are named, not written: writing out a very long one is slow, then an error.
SHOWN_BITS = 128


def shown(value: object) -> str:
    """The value as JSON would call it: texts quoted and cut, lists and objects only by their kind."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{plain(value)}"'
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int):
        return str(value) if value.bit_length() <= SHOWN_BITS else "an integer of very many digits"
    return "a list" if isinstance(value, (list, tuple)) else "an object"


def plain(text: str) -> str:
    """The beginning of a text on one line; what cannot be printed or encoded is written as an escape."""
    cut = text[:SHOWN_CHARACTERS]
    safe = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in cut)
    return safe if len(safe) <= SHOWN_CHARACTERS and cut == text else safe[:SHOWN_CHARACTERS] + "…"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, such as ``aspect_ratio`` for ``aspectRatio``; None if none is close."""
    folded = {_fold(candidate): candidate for candidate in known}
    close = difflib.get_close_matches(_fold(word[:SHOWN_CHARACTERS]), folded, n=1, cutoff=0.7)
    return folded[close[0]] if close else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """A tail for a message, ``; did you mean "aspect_ratio"?``, or nothing."""
    near = nearest(word, known)
    return f'; did you mean "{near}"?' if near else ""


def _fold(word: str) -> str:
    return "".join(sign for sign in word.casefold() if sign.isalnum())
