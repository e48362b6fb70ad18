"""What a team's orders may ask for: models, size, how much the upstream lets through, which words. Pure.

A policy is one JSON object in the team's row. ``parse`` takes an operator's body and names what is wrong with it;
``read`` takes the column, which was checked when it was written, and passes over members of a newer release.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec

from gateway import errors
from gateway.admission import terms
from gateway.images import spelling
from gateway.images.catalogue import Catalogue
from gateway.images.model import Model, Parameters
from gateway.tenancy.recognition import TeamLimits

#: The parameter whose ceiling a policy may set: the higher, the more is let through.
SAFETY: Final = "safety_tolerance"
TERMS_MAX: Final = 1_000
_READ_MAX: Final = 1_000
_PLACE: Final = re.compile(r"(.*?)(?: - at `\$\.?([^`]*)`)?", re.DOTALL)


class Mode(StrEnum):
    """What becomes of a ``safety_tolerance`` above the ceiling."""

    CLAMP = "clamp"
    REFUSE = "refuse"


class OnUnknown(StrEnum):
    """What becomes of a job of which nobody knows whether the upstream took it."""

    #: For evidence, an operator, or a day.
    WAIT = "wait"
    #: Once its POST cannot be under way any more it is sent a second time, under a second hold; both may be charged.
    RESUBMIT_ONCE = "resubmit_once"


class OnFailure(StrEnum):
    """What becomes of an order when the moderation endpoint gives no answer that can be read."""

    ALLOW = "allow"
    REFUSE = "refuse"


class Ceiling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The highest ``safety_tolerance``, and what becomes of a higher one."""

    maximum: Annotated[int, msgspec.Meta(ge=0, le=100)] = msgspec.field(name="max")
    mode: Mode = Mode.CLAMP


class Moderation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """An endpoint of the operator's that is asked about each new order."""

    url: Annotated[str, msgspec.Meta(max_length=2_000)]
    timeout_s: Annotated[float, msgspec.Meta(ge=0.1, le=30)] = 5.0
    on_failure: OnFailure = OnFailure.REFUSE


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", dict=True):
    """What a team's orders may ask for; an empty one allows everything."""

    #: None: all of them.
    models: tuple[str, ...] | None = None
    #: A resolution as the catalogue names it; each model lists its own from the smallest to the largest.
    max_resolution: str | None = None
    safety: Ceiling | None = msgspec.field(name="safetyTolerance", default=None)
    denied_terms: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=100)], ...], msgspec.Meta(max_length=TERMS_MAX)
    ] = ()
    on_unknown: OnUnknown = OnUnknown.WAIT
    moderation: Moderation | None = None

    @cached_property
    def needles(self) -> tuple[str, ...]:
        """The denied terms as they are looked for."""
        return tuple(dict.fromkeys(needle for term in self.denied_terms if (needle := terms.needle(term))))


#: A team without a policy.
OPEN: Final = Policy()


def parse(body: object, catalogue: Catalogue) -> Policy:
    """The policy of an operator's body; ``InvalidRequest`` whose ``param`` names the member that is wrong."""
    if not isinstance(body, Mapping):
        raise errors.InvalidParameter("a policy: must be an object")
    try:
        given = msgspec.convert(body, Policy)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    for name in _unknown(body, Policy):
        raise errors.UnknownParameter(f"{name}: a policy has no such member", param=name)
    _require_models(given, catalogue)
    for number, term in enumerate(given.denied_terms):
        if not terms.needle(term):
            param = f"deniedTerms[{number}]"
            raise errors.InvalidParameter(f"{param}: holds no letter, digit or symbol to look for", param=param)
    if given.moderation is not None and not _is_web_url(given.moderation.url):
        raise errors.InvalidParameter(
            "moderation.url: must be an http:// or https:// URL without user, password and fragment",
            param="moderation.url",
        )
    return given


def read(column: Mapping[str, Any] | None) -> Policy:
    """The policy of a team's column; ``InternalError`` for one that no release has written: nothing is let in by it."""
    if column is None:
        return OPEN
    try:
        return msgspec.convert(column, Policy)
    except msgspec.ValidationError as error:
        broken = errors.InternalError()
        broken.add_note(f"the policy in a team's row cannot be read: {error}")
        raise broken from None


def write(policy: Policy) -> dict[str, Any]:
    """What the column holds, and a person sees: members that say nothing new are left out."""
    column: dict[str, Any] = msgspec.to_builtins(policy)
    return column


class Policies:
    """The policies of the teams that order at this process, read again only when the column has changed."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[Mapping[str, Any], Policy]] = {}

    def of(self, team: TeamLimits) -> Policy:
        """The team's policy; raises what ``read`` does."""
        if team.policy is None:
            return OPEN
        kept = self._read.get(team.id)
        if kept is not None and kept[0] == team.policy:
            return kept[1]
        found = read(team.policy)
        if len(self._read) >= _READ_MAX:
            self._read.clear()
        self._read[team.id] = (team.policy, found)
        return found


def apply(policy: Policy, model: Model, parameters: Parameters) -> Parameters:
    """The canonical parameters as the policy lets them through: the same, or with a lower ``safety_tolerance``.

    Raises ``ModelNotAllowed``, or ``PolicyRefused`` whose ``param`` names the parameter and whose text no denied term.
    What was let through is let through again unchanged.
    """
    if policy.models is not None and model.api_id not in policy.models:
        raise errors.ModelNotAllowed(f"this team may not use {model.api_id}", param="model")
    _require_size(policy, model, parameters)
    _require_words(policy, model, parameters)
    return _held_down(policy, model, parameters)


def _require_size(policy: Policy, model: Model, parameters: Parameters) -> None:
    sizes = None if model.resolution is None else model.parameter(model.resolution)
    if policy.max_resolution is None or sizes is None:
        return
    if policy.max_resolution not in sizes.enum:
        raise errors.ModelNotAllowed(
            f"this team may order at most {policy.max_resolution}, which is no size of {model.api_id}", param="model"
        )
    allowed = sizes.enum[: sizes.enum.index(policy.max_resolution) + 1]
    if parameters.get(sizes.name) not in allowed:
        raise errors.PolicyRefused(
            f"{sizes.name}: this team may order at most {policy.max_resolution}", param=sizes.name
        )


def _require_words(policy: Policy, model: Model, parameters: Parameters) -> None:
    if not policy.needles:
        return
    for parameter in model.parameters:
        text = parameters.get(parameter.name)
        if parameter.type != "string" or not isinstance(text, str):
            continue
        haystack = terms.haystack(text)
        if any(needle in haystack for needle in policy.needles):
            raise errors.PolicyRefused(
                f"{parameter.name}: holds a term that this team does not allow", param=parameter.name
            )


def _held_down(policy: Policy, model: Model, parameters: Parameters) -> Parameters:
    asked = model.parameter(SAFETY)
    if policy.safety is None or asked is None:
        return parameters
    ceiling = policy.safety.maximum
    if asked.minimum is not None and ceiling < asked.minimum:
        raise errors.ModelNotAllowed(
            f"this team may let through at most {SAFETY} {ceiling}, and {model.api_id} begins at {asked.minimum}",
            param="model",
        )
    value = parameters.get(SAFETY)
    if value is None:
        # The upstream would take a default of its own.
        return {**parameters, SAFETY: ceiling if asked.maximum is None else min(ceiling, int(asked.maximum))}
    if not isinstance(value, int | float) or value <= ceiling:
        return parameters
    if policy.safety.mode is Mode.REFUSE:
        raise errors.PolicyRefused(f"{SAFETY}: this team may ask for at most {ceiling}", param=SAFETY)
    return {**parameters, SAFETY: ceiling}


def _require_models(policy: Policy, catalogue: Catalogue) -> None:
    if policy.models is not None and not policy.models:
        raise errors.InvalidParameter("models: name at least one, or leave it out to allow all", param="models")
    for number, name in enumerate(policy.models or ()):
        if name not in catalogue.models:
            tail = spelling.suggestion(name, catalogue.models)
            param = f"models[{number}]"
            raise errors.InvalidParameter(f'{param}: there is no model "{spelling.plain(name)}"{tail}', param=param)
    size = policy.max_resolution
    sizes = {name for model in catalogue if model.resolution is not None for name in model.prices}
    if size is not None and size not in sizes:
        raise errors.InvalidParameter(
            f"maxResolution: must be one of {', '.join(sorted(sizes))}, not {spelling.shown(size)}",
            param="maxResolution",
        )


def _is_web_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port  # read only for its check: a port that is not one raises
    except ValueError:
        return False
    plain = text.isprintable() and text.isascii() and " " not in text and "@" not in parts.netloc
    return plain and parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.fragment


def _unknown(body: Mapping[str, Any], form: type[msgspec.Struct], within: str = "") -> Iterator[str]:
    members = {field.encode_name for field in msgspec.structs.fields(form)}
    yield from (f"{within}{spelling.plain(str(name))}" for name in body if name not in members)
    for name, inner in (("safetyTolerance", Ceiling), ("moderation", Moderation)):
        if name in members and isinstance(body.get(name), Mapping):
            yield from _unknown(body[name], inner, f"{name}.")


def _invalid(error: msgspec.ValidationError) -> errors.InvalidRequest:
    found = _PLACE.fullmatch(str(error))
    reason, param = (str(error), None) if found is None else (found[1], found[2] or None)
    return errors.InvalidParameter(f"{param or 'a policy'}: {reason[:1].lower()}{reason[1:]}", param=param)
