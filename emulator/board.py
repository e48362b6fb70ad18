"""Holds the switches as they stand, turns them, and hands out the fault or outcome that is next. Applies none."""

from collections.abc import Iterable
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec

from emulator import money, switches

RuleT = TypeVar("RuleT", bound=switches.Rule)

FAULT_LINES = ("submit_fault", "poll_fault", "list_fault", "models_fault", "download_fault")
NEVER_NEGATIVE = ("time_scale", "result_ttl_s", "webhook_delay_s", "job_list_lag_s", "picture_bytes", "rate_limit_rpm")

STATUSES = range(200, 600)


class Rejected(Exception):
    """A switch that does not exist, or a value it cannot take; the message names it."""


class Line(Generic[RuleT]):
    """Rules in order: the first that matches and is not used up is taken."""

    def __init__(self) -> None:
        self._rules: list[RuleT] = []

    def fill(self, rules: Iterable[RuleT]) -> None:
        """Replace the rules."""
        self._rules = [rule for rule in rules if rule.times != 0]

    def rules(self) -> list[RuleT]:
        """Return what is left; `times` and `after` as they have been counted down."""
        return list(self._rules)

    def take(self, *, model: str | None = None, prompt: str = "", job_id: str | None = None) -> RuleT | None:
        """Return the rule for this request and count it; a request counts towards one rule's `after` at most."""
        for at, rule in enumerate(self._rules):
            if not _matches(rule, model, prompt, job_id):
                continue
            if rule.after > 0:
                self._rules[at] = msgspec.structs.replace(rule, after=rule.after - 1)
                return None
            if rule.times is not None:
                self._count_down(at, rule, rule.times)
            return rule
        return None

    def _count_down(self, at: int, rule: RuleT, times: int) -> None:
        if times <= 1:
            del self._rules[at]
        else:
            self._rules[at] = msgspec.structs.replace(rule, times=times - 1)


class Board:
    """The switches of one emulator."""

    def __init__(self, time_scale: float) -> None:
        self._time_scale = time_scale
        self._types = get_type_hints(switches.Switches)
        self.now = switches.Switches(time_scale=time_scale)
        self.faults: dict[str, Line[switches.Fault]] = {name: Line() for name in FAULT_LINES}
        self.outcomes: Line[switches.Outcome] = Line()

    def reset(self) -> None:
        """Put everything back to its default."""
        self.now = switches.Switches(time_scale=self._time_scale)
        self.outcomes.fill(())
        for line in self.faults.values():
            line.fill(())

    def shown(self) -> dict[str, Any]:
        """Return all switches by name; a line is always a list, empty when nothing is ordered."""
        lines: dict[str, Any] = {name: line.rules() for name, line in self.faults.items()}
        return {**lines, "outcome": self.outcomes.rules(), **msgspec.structs.asdict(self.now)}

    def turn(self, given: dict[str, msgspec.Raw]) -> None:
        """Set the named switches, all or none; raises `Rejected`."""
        values = {name: self._read(name, raw) for name, raw in given.items()}
        plain = {name: value for name, value in values.items() if name in self._types}
        self.now = msgspec.structs.replace(self.now, **plain)
        for name, value in values.items():
            if name == "outcome":
                self.outcomes.fill(_rules(value, switches.Outcome))
            elif name in self.faults:
                self.faults[name].fill(_rules(value, switches.Fault))

    def _read(self, name: str, raw: msgspec.Raw) -> Any:  # noqa: ANN401  each switch has a type of its own
        wanted: Any = self._types.get(name)
        if name == "outcome":
            wanted = switches.OutcomeLine
        elif name in self.faults:
            wanted = switches.FaultLine
        if wanted is None:
            raise Rejected(f"unknown switch: {name}")
        try:
            value = msgspec.json.decode(raw, type=wanted)
            _check(name, value)
        except (ValueError, msgspec.MsgspecError) as error:
            raise Rejected(f"{name}: {error}") from None
        return value


def _check(name: str, value: object) -> None:
    if name in NEVER_NEGATIVE and isinstance(value, (int, float)) and value < 0:
        raise ValueError("must not be negative")
    if name == "duration_s":
        _check_spread(value)
    if name == "prices" and isinstance(value, dict):
        for price in value.values():
            for credits in price.values() if isinstance(price, dict) else (price,):
                money.micro(switches.amount(credits))
    for rule in value if isinstance(value, list) else [value]:
        if isinstance(rule, switches.Fault) and rule.status not in STATUSES:
            raise ValueError("status must be 200 to 599")


def _check_spread(value: object) -> None:
    low, high = (value.min, value.max) if isinstance(value, switches.Spread) else (value, value)
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)) or not 0 <= low <= high:
        raise ValueError("must be 0 or more, min not above max")


def _matches(rule: switches.Rule, model: str | None, prompt: str, job_id: str | None) -> bool:
    if rule.model is not None and rule.model != model:
        return False
    if rule.job_id is not None and rule.job_id != job_id:
        return False
    return rule.prompt_contains is None or rule.prompt_contains in prompt


def _rules(value: Any, kind: type[RuleT]) -> list[RuleT]:  # noqa: ANN401  a rule, a list, a kind's name or null
    if value is None:
        return []
    if isinstance(value, str):
        return [kind(kind=value)]  # type: ignore[call-arg]  # every rule of a line has a kind
    return value if isinstance(value, list) else [value]
