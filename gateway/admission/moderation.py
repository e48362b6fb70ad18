"""What a team's moderation endpoint is asked about an order, and what its answer means. Pure: who asks is another room.

The question is one JSON object, ``{prompt, model, parameters, teamId}``; the answer ``{"allowed": true or false,
"reason": text}`` with status 200. Anything else is no answer, and the policy says what becomes of the order then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gateway import errors
from gateway.admission.policy import Moderation, OnFailure
from gateway.images.model import Parameters

#: More of an answer is not read.
ANSWER_BYTES_MAX: Final = 16_384
REASON_CHARACTERS_MAX: Final = 200
RETRY_AFTER_S: Final = 5
HEADERS: Final = (("Content-Type", "application/json"), ("Accept", "application/json"))


class _Answer(msgspec.Struct, frozen=True):
    allowed: bool
    reason: str | None = None


@dataclass(frozen=True)
class Decision:
    """What came of asking."""

    allowed: bool
    #: The endpoint said so itself; else the policy's ``onFailure`` did.
    answered: bool
    #: The endpoint's own words, or why there was no answer; for the audit log.
    reason: str | None


def question(model: str, parameters: Parameters, team_id: str) -> bytes:
    """The body to POST."""
    others = {name: value for name, value in parameters.items() if name != "prompt"}
    return msgspec.json.encode(
        {"prompt": parameters.get("prompt", ""), "model": model, "parameters": others, "teamId": team_id}
    )


def decide(moderation: Moderation, status: int, body: bytes | None) -> Decision:
    """What an answer means; ``body`` is None where it was longer than is read."""
    if status != 200:
        return unanswered(moderation, f"status {status}")
    try:
        answer = msgspec.json.decode(body or b"", type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return unanswered(moderation, "unreadable answer")
    return Decision(answer.allowed, answered=True, reason=_shown(answer.reason))


def unanswered(moderation: Moderation, why: str) -> Decision:
    """What becomes of an order when there was no answer."""
    return Decision(moderation.on_failure is OnFailure.ALLOW, answered=False, reason=why)


def note(decision: Decision, model: str) -> Mapping[str, Any]:
    """What the audit log keeps of it: no prompt."""
    return {
        "allowed": decision.allowed,
        "answered": decision.answered,
        "reason": decision.reason,
        "model": model,
    }


def require(decision: Decision) -> None:
    """``PolicyRefused`` for an order that was judged, ``Unavailable`` for one that could not be."""
    if decision.allowed:
        return
    if not decision.answered:
        raise errors.Unavailable("the moderation of this team does not answer", retry_after_s=RETRY_AFTER_S)
    raise errors.PolicyRefused("prompt: the moderation of this team does not allow it", param="prompt")


def _shown(reason: str | None) -> str | None:
    if reason is None:
        return None
    cut = reason[:REASON_CHARACTERS_MAX]
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in cut)
