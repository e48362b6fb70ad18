"""Making the fields of a log entry fit to be written: walks nested values and applies `redaction` to all of them.

Never raises and never changes what it is given: a log call must not break the work it tells of.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from gateway.telemetry import redaction

_DEPTH_MAX = 8
_PAIR = 2


@dataclass(frozen=True, slots=True)
class Scrubber:
    """What to take out: prompts unless ``prompts``, the ``hidden`` texts wherever they occur, all that looks secret."""

    prompts: bool = False
    hidden: Sequence[str] = field(default=(), repr=False)

    def fields(self, members: Mapping[str, object], depth: int = 0) -> dict[str, object]:
        """The members as plain JSON types: prompts are left out, secrets masked under their names."""
        kept: dict[str, object] = {}
        for name, value in members.items():
            if redaction.is_prompt(name) and not self.prompts:
                continue
            secret = redaction.is_secret(name) and value is not None
            known = redaction.plain_name(name) and not self._hides(name)
            kept[name if known else self.text(name)] = redaction.MASK if secret else self.value(value, depth + 1)
        return kept

    def value(self, value: object, depth: int = 0) -> object:
        """The value as plain JSON types; what cannot be looked into is shown as text."""
        if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes | bytearray):
            return self.text(bytes(value).decode(errors="replace"))
        if depth >= _DEPTH_MAX:
            return f"<{type(value).__name__}>"
        members = _members(value)
        if members is not None:
            return self.fields(members, depth)
        if isinstance(value, list | tuple | AbstractSet):
            return self._elements(list(value), depth)
        return self.text(_shown(value))

    def text(self, text: str) -> str:
        """The text without secrets, and without the prompts quoted in it."""
        if redaction.plain(text) and not self._hides(text):
            return text
        redacted = redaction.redact(text, self.hidden)
        return redacted if self.prompts else redaction.without_prompts(redacted)

    def _hides(self, text: str) -> bool:
        for hidden in self.hidden:  # noqa: SIM110  a generator costs as much again as the search
            if hidden in text:
                return True
        return False

    def _elements(self, elements: list[object], depth: int) -> list[object]:
        if len(elements) == _PAIR and isinstance(elements[0], str | bytes):
            # Headers travel as pairs: the first element names the second.
            name = elements[0].decode(errors="replace") if isinstance(elements[0], bytes) else elements[0]
            if redaction.is_secret(name) or (redaction.is_prompt(name) and not self.prompts):
                return [self.text(name), redaction.MASK]
        return [self.value(element, depth + 1) for element in elements]


def _members(value: object) -> dict[str, object] | None:
    """The named members of mappings, dataclasses and msgspec structs; ``None`` for what has none."""
    try:
        if isinstance(value, Mapping):
            return {str(name): member for name, member in value.items()}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            shown = (member for member in dataclasses.fields(value) if member.repr)
            return {member.name: getattr(value, member.name, None) for member in shown}
        names = getattr(type(value), "__struct_fields__", ())
        return {name: getattr(value, name, None) for name in names} or None
    except Exception:  # noqa: BLE001  another's __getattr__ or __str__ may raise anything; the entry is written all the same
        return None


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  as above
        return f"<{type(value).__name__}>"
