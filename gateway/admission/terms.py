"""Whether a text holds a denied term, whatever case, width or spacing it is written in. Pure; knows no patterns.

A term stands for whole words: "ass" is not in "class", and "bare skin" is in "BARE-skin". Scripts that are written
without spaces have no such border, so a term of theirs is found anywhere. It is a net for the careless, not for those
who mean to slip through: that is what a moderation endpoint is for.
"""

import re
import unicodedata
from enum import Enum
from typing import Final

#: The same as below for the usual text, many times as fast.
_ASCII_BETWEEN: Final = re.compile(r"[^0-9a-z]+")


class _Kind(Enum):
    """What a character is to the border of a word."""

    BETWEEN = 0
    #: A letter with case, or a digit: words of these end where something else begins.
    WORD = 1
    #: A letter without case (ideographs, kana, Thai …) or a symbol (an emoji): a word by itself, or a part of one.
    ANYWHERE = 2


def fold(text: str) -> str:
    """The text as it is compared: NFKC and casefold, single spaces between words, nothing that cannot be seen.

    Where letters of the two kinds meet, a space stands too.
    """
    if text.isascii():
        return _ASCII_BETWEEN.sub(" ", text.lower()).strip(" ")
    # What cannot be seen goes first, lest it keep a letter from its mark.
    visible = "".join(sign for sign in text if unicodedata.category(sign) != "Cf")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
    pieces: list[str] = []
    last = _Kind.BETWEEN
    for sign in folded:
        category = unicodedata.category(sign)
        if category[0] == "M" and last is _Kind.BETWEEN:
            continue  # a mark on nothing
        kind = last if category[0] == "M" else _kind(category)
        if kind is not last and pieces and pieces[-1] != " ":
            pieces.append(" ")
        if kind is not _Kind.BETWEEN:
            pieces.append(sign)
        last = kind
    return "".join(pieces).strip(" ")


def needle(term: str) -> str:
    """What to look for in a ``haystack``: the folded term, with its borders where it has any; empty for no word."""
    folded = fold(term)
    if not folded:
        return ""
    begin = " " if _kind(unicodedata.category(folded[0])) is _Kind.WORD else ""
    end = " " if _last_kind(folded) is _Kind.WORD else ""
    return f"{begin}{folded}{end}"


def haystack(text: str) -> str:
    """The folded text with a border at each end."""
    return f" {fold(text)} "


def _kind(category: str) -> _Kind:
    if category in {"Lo", "So"}:
        return _Kind.ANYWHERE
    return _Kind.WORD if category[0] in "LN" else _Kind.BETWEEN


def _last_kind(folded: str) -> _Kind:
    categories = (unicodedata.category(sign) for sign in reversed(folded))
    return next(_kind(category) for category in categories if category[0] != "M")
