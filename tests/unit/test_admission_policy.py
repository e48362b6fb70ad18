"""Policies: what they let through, what they lower, what they refuse, and what a body of one may say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.admission import policy
from gateway.admission.policy import Ceiling, Mode, Moderation, OnFailure, OnUnknown, Policies, Policy
from gateway.images import catalogue, parameters
from gateway.images.model import Model, Parameters
from gateway.tenancy.recognition import TeamLimits

CATALOGUE = catalogue.load()
MAX = CATALOGUE.model("flux-2-max")
SIZES = ("0.5 MP", "1 MP", "2 MP", "4 MP")

policies = st.builds(
    Policy,
    models=st.none() | st.lists(st.sampled_from(sorted(CATALOGUE.models)), min_size=1, unique=True).map(tuple),
    max_resolution=st.none() | st.sampled_from(SIZES),
    safety=st.none() | st.builds(Ceiling, maximum=st.integers(0, 6), mode=st.sampled_from(Mode)),
    denied_terms=st.lists(st.sampled_from(["nude", "bare skin", "裸", "gate"]), max_size=3, unique=True).map(tuple),
    on_unknown=st.sampled_from(OnUnknown),
    moderation=st.none()
    | st.builds(
        Moderation,
        url=st.just("https://moderation.example/v1"),
        timeout_s=st.floats(0.1, 30),
        on_failure=st.sampled_from(OnFailure),
    ),
)
orders = st.fixed_dictionaries(
    {"prompt": st.sampled_from(["a gate", "a NUDE", "sea", "全裸体", "bare-skin"])},
    optional={
        "resolution": st.sampled_from(SIZES),
        "safety_tolerance": st.integers(1, 5),
        "seed": st.integers(0, 9),
        "num_outputs": st.integers(1, 4),
    },
)


def asked(**body: object) -> Parameters:
    """Canonical parameters of flux-2-max."""
    return parameters.canonical(MAX, {"prompt": "a torii gate", **body})


def limits(column: dict[str, Any] | None) -> TeamLimits:
    """A team with that policy in its row."""
    return TeamLimits("team_1", 300, None, 10_000, 3_600, column, drained=False)


@given(policies, orders, st.sampled_from(list(CATALOGUE)))
def test_what_is_let_through_keeps_the_policy(wanted: Policy, order: dict[str, object], model: Model) -> None:
    """What comes through keeps the policy, differs in `safety_tolerance` alone, and comes through again as it is."""
    canonical = parameters.canonical(model, order)
    try:
        passed = policy.apply(wanted, model, canonical)
    except (errors.ModelNotAllowed, errors.PolicyRefused):
        return
    assert wanted.models is None or model.api_id in wanted.models
    assert wanted.max_resolution is None or SIZES.index(str(passed["resolution"])) <= SIZES.index(wanted.max_resolution)
    assert wanted.safety is None or int(str(passed["safety_tolerance"])) <= wanted.safety.maximum
    assert {**passed, "safety_tolerance": 0} == {**canonical, "safety_tolerance": 0}
    assert list(passed) == list(canonical)
    assert policy.apply(wanted, model, passed) == passed
    assert parameters.canonical(model, passed) == passed


@given(policies)
def test_a_policy_survives_its_column(wanted: Policy) -> None:
    """A policy that was written is the policy that is read, and an operator may send what is shown."""
    column = policy.write(wanted)
    assert policy.read(column) == wanted
    assert policy.parse(column, CATALOGUE) == wanted


@given(orders)
def test_no_policy_changes_nothing(order: dict[str, object]) -> None:
    """Without a policy every order comes through as it is, the very same value."""
    canonical = parameters.canonical(MAX, order)
    assert policy.apply(policy.read(None), MAX, canonical) is canonical


def test_a_model_that_is_not_listed_is_refused() -> None:
    """Where models are listed, any other is `model_not_allowed`."""
    with pytest.raises(errors.ModelNotAllowed, match="flux-2-max"):
        policy.apply(Policy(models=("flux-2-dev",)), MAX, asked())


@pytest.mark.parametrize("mode", Mode)
def test_a_high_tolerance_is_lowered_or_refused(mode: Mode) -> None:
    """A `safety_tolerance` above the ceiling is lowered to it or refused, as the policy says; one at it passes."""
    held = Policy(safety=Ceiling(maximum=2, mode=mode))
    assert policy.apply(held, MAX, asked(safety_tolerance=2))["safety_tolerance"] == 2
    if mode is Mode.CLAMP:
        assert policy.apply(held, MAX, asked(safety_tolerance=5))["safety_tolerance"] == 2
        return
    with pytest.raises(errors.PolicyRefused) as refused:
        policy.apply(held, MAX, asked(safety_tolerance=5))
    assert refused.value.param == "safety_tolerance"


@pytest.mark.parametrize("mode", Mode)
def test_a_tolerance_that_is_not_given_is_set(mode: Mode) -> None:
    """Where nobody said a tolerance the ceiling is sent, since the upstream would choose one of its own."""
    silent = {name: value for name, value in asked().items() if name != "safety_tolerance"}
    assert policy.apply(Policy(safety=Ceiling(maximum=3, mode=mode)), MAX, silent)["safety_tolerance"] == 3


def test_a_ceiling_below_the_models_least_refuses_the_model() -> None:
    """A model that cannot be asked as strictly as the policy wants is not allowed."""
    with pytest.raises(errors.ModelNotAllowed):
        policy.apply(Policy(safety=Ceiling(maximum=0)), MAX, asked())


def test_a_size_above_the_highest_is_refused() -> None:
    """The catalogue's order of sizes counts, and a size the model does not have refuses the model."""
    with pytest.raises(errors.PolicyRefused) as refused:
        policy.apply(Policy(max_resolution="1 MP"), MAX, asked(resolution="2 MP"))
    assert refused.value.param == "resolution"
    with pytest.raises(errors.ModelNotAllowed):
        policy.apply(Policy(max_resolution="8K"), MAX, asked())


def test_a_refusal_does_not_tell_the_term() -> None:
    """A denied term names the field that holds it and is not repeated."""
    with pytest.raises(errors.PolicyRefused) as refused:
        policy.apply(Policy(denied_terms=("bare skin",)), MAX, asked(prompt="much Bare-Skin"))
    assert refused.value.param == "prompt"
    assert "skin" not in refused.value.message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"models": []}, "models"),
        ({"models": "flux-2-max"}, "models"),
        ({"models": ["flux-2-max", "flux-2-maxx"]}, "models[1]"),
        ({"maxResolution": "8K"}, "maxResolution"),
        ({"safetyTolerance": {}}, "safetyTolerance"),
        ({"safetyTolerance": {"max": "3"}}, "safetyTolerance.max"),
        ({"safetyTolerance": {"max": 3, "mode": "drop"}}, "safetyTolerance.mode"),
        ({"safetyTolerance": {"max": 3, "maximum": 3}}, "safetyTolerance.maximum"),
        ({"deniedTerms": ["fine", "!?"]}, "deniedTerms[1]"),
        ({"deniedTerms": ["x" * 101]}, "deniedTerms[0]"),
        ({"deniedTerms": ["x"] * 1_001}, "deniedTerms"),
        ({"onUnknown": "resubmit"}, "onUnknown"),
        ({"moderation": {"timeoutS": 3}}, "moderation"),
        ({"moderation": {"url": "ftp://h/"}}, "moderation.url"),
        ({"moderation": {"url": "https://user:password@h/"}}, "moderation.url"),
        ({"moderation": {"url": "https://h:99999/"}}, "moderation.url"),
        ({"moderation": {"url": "https://h/", "timeoutS": 31}}, "moderation.timeoutS"),
        ({"moderation": {"url": "https://h/", "onFailure": "ignore"}}, "moderation.onFailure"),
        ({"maxresolution": "1 MP"}, "maxresolution"),
        (["models"], None),
    ],
)
def test_a_wrong_policy_names_its_field(body: object, param: str | None) -> None:
    """Each mistake in the body of a policy is an invalid request that names the member, and shows no line break."""
    with pytest.raises(errors.InvalidRequest) as wrong:
        policy.parse(body, CATALOGUE)
    assert wrong.value.param == param
    assert wrong.value.message.isprintable()


def test_a_newer_releases_column_is_read_and_a_broken_one_is_not() -> None:
    """A member that this release does not know is passed over; a column that makes no sense lets nothing in."""
    assert policy.read({"maxResolution": "1 MP", "newer": True}) == Policy(max_resolution="1 MP")
    with pytest.raises(errors.InternalError):
        policy.read({"models": 7})


def test_a_policy_is_read_once_until_its_column_changes() -> None:
    """An unchanged column gives the policy that was read before; a changed one, or none, is heeded at once."""
    kept = Policies()
    first = kept.of(limits({"deniedTerms": ["nude"]}))
    assert kept.of(limits({"deniedTerms": ["nude"]})) is first
    assert kept.of(limits({"deniedTerms": ["gate"]})).denied_terms == ("gate",)
    assert kept.of(limits(None)) == Policy()
