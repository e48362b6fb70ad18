"""What a moderation endpoint is asked, and what its answers come to."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.admission import moderation
from gateway.admission.policy import Moderation, OnFailure

ASKED = Moderation(url="https://moderation.example/v1")
LENIENT = Moderation(url="https://moderation.example/v1", on_failure=OnFailure.ALLOW)


def test_the_question() -> None:
    """The endpoint is told the prompt, the model, the other parameters and the team."""
    body = moderation.question("flux-2-max", {"prompt": "a gate", "resolution": "1 MP", "seed": 7}, "team_1")
    assert json.loads(body) == {
        "prompt": "a gate",
        "model": "flux-2-max",
        "parameters": {"resolution": "1 MP", "seed": 7},
        "teamId": "team_1",
    }


@pytest.mark.parametrize("policy", [ASKED, LENIENT])
def test_an_answer_is_heeded_whatever_the_policy_says_of_failures(policy: Moderation) -> None:
    """A yes lets the order in, a no refuses it as `policy_refused` with the prompt named and no reason told."""
    moderation.require(moderation.decide(policy, 200, b'{"allowed": true, "score": 0.1}'))
    decision = moderation.decide(policy, 200, b'{"allowed": false, "reason": "nudity\\n"}')
    assert (decision.answered, decision.reason) == (True, "nudity\N{REPLACEMENT CHARACTER}")
    with pytest.raises(errors.PolicyRefused) as refused:
        moderation.require(decision)
    assert refused.value.param == "prompt"
    assert "nudity" not in refused.value.message


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, None),
        (200, b""),
        (200, b"yes"),
        (200, b"\xff"),
        (200, b"[true]"),
        (200, b"{}"),
        (200, b'{"allowed": "true"}'),
        (200, b'{"allowed": 1}'),
        (200, b'{"allowed": true, "reason": 5}'),
        (204, b""),
        (302, b'{"allowed": true}'),
        (500, b'{"allowed": true}'),
    ],
)
def test_anything_else_is_no_answer(status: int, body: bytes | None) -> None:
    """What cannot be read as an answer refuses the order with a time to try again, or lets it in, by the policy."""
    decision = moderation.decide(ASKED, status, body)
    assert (decision.allowed, decision.answered) == (False, False)
    with pytest.raises(errors.Unavailable) as refused:
        moderation.require(decision)
    assert refused.value.retry_after_s == moderation.RETRY_AFTER_S
    lenient = moderation.decide(LENIENT, status, body)
    assert (lenient.allowed, lenient.answered) == (True, False)
    moderation.require(lenient)


@given(st.integers(100, 599), st.binary(max_size=64))
def test_no_answer_is_ever_taken_for_a_yes(status: int, body: bytes) -> None:
    """Whatever comes back, only an object whose `allowed` is true counts as one."""
    decision = moderation.decide(ASKED, status, body)
    if decision.allowed:
        assert status == 200
        assert json.loads(body)["allowed"] is True


def test_the_audit_keeps_no_prompt() -> None:
    """What is noted of a decision is the decision, the endpoint's reason and the model."""
    decision = moderation.unanswered(ASKED, "timeout")
    assert moderation.note(decision, "flux-2-max") == {
        "allowed": False,
        "answered": False,
        "reason": "timeout",
        "model": "flux-2-max",
    }
