"""Where the time of a job went, from the moments that its page has. Pure."""

from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

#: What each stage begins with, in order, and what it is called.
_STAGES: Final = MappingProxyType(
    {
        "createdAt": "in the queue",
        "submittedAt": "being sent",
        "acceptedAt": "upstream",
        "finishedUpstreamAt": "being kept",
    }
)
_ENDS: Final = ("endedAt", "completedAt")


def took_s(page: Mapping[str, Any]) -> float | None:
    """Seconds from the order to the end; none before it."""
    ended_at = next((_at(page, name) for name in _ENDS if page.get(name)), None)
    created_at = _at(page, "createdAt")
    return None if ended_at is None or created_at is None else (ended_at - created_at).total_seconds()


def stages(page: Mapping[str, Any]) -> dict[str, float]:
    """The seconds that each stage took which is over, by its name; a stage that was passed over is left out."""
    ended_at = next((_at(page, name) for name in _ENDS if page.get(name)), None)
    begun = [(said, at) for name, said in _STAGES.items() if (at := _at(page, name)) is not None]
    if ended_at is not None:
        begun.append(("", ended_at))
    return {said: max((after - at).total_seconds(), 0.0) for (said, at), (_, after) in pairwise(begun)}


def told(page: Mapping[str, Any]) -> str | None:
    """The same in a line, such as ``46.2 s: 0.3 s in the queue, 45.6 s upstream, 0.3 s being kept``."""
    whole_s, parts = took_s(page), stages(page)
    spelled = ", ".join(f"{seconds:.1f} s {said}" for said, seconds in parts.items())
    if whole_s is None:
        return spelled or None
    return f"{whole_s:.1f} s: {spelled}" if len(parts) > 1 else f"{whole_s:.1f} s"


def _at(page: Mapping[str, Any], name: str) -> datetime | None:
    text = page.get(name)
    return None if text is None else datetime.fromisoformat(text)
