"""The fingerprint: one for all spellings of a request, another for whatever changes the picture or who may see it."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.images import catalogue, parameters
from gateway.images.catalogue import Catalogue
from gateway.reuse import fingerprint
from gateway.reuse.fingerprint import Key

KEY = Key(bytes(range(32)))
BODY = {"prompt": "a torii gate at dawn", "seed": 7, "resolution": "1 MP", "num_outputs": 2}
#: What the body above had in the first release that kept pictures: a change forgets every cache in the world.
GOLDEN = {
    "flux-2-max": "b082bd25d2b7e84c6a929b803609cba971669e84ee9c8b545d40115f2a275b7a",
    "flux-2-klein-9b": "d3d5026ca03d70d780ca294deac4c285ba806ca7755f4ee6b29cae94728f8473",
}


@pytest.fixture(scope="module")
def models() -> Catalogue:
    """The shipped catalogue."""
    return catalogue.load()


def of(models: Catalogue, text: str, scope: str = "team_a", model: str = "flux-2-max") -> str:
    """The fingerprint of a body as a caller wrote it."""
    found = models.model(model)
    return fingerprint.of(KEY, scope, found, parameters.canonical(found, json.loads(text)))


@pytest.mark.parametrize("model", list(GOLDEN))
def test_a_fingerprint_stays_what_it_was(models: Catalogue, model: str) -> None:
    """The same request has the same fingerprint in every release and process."""
    assert of(models, json.dumps(BODY), model=model) == GOLDEN[model]


@pytest.mark.parametrize(
    "text",
    [
        '{"seed": 7, "num_outputs": 2, "resolution": "1 MP", "prompt": "a torii gate at dawn"}',
        '{"seed": 7.0, "num_outputs": 2e0, "resolution": "1 MP", "prompt": "a torii gate at dawn"}',
        '{"seed": 7, "num_outputs": 2, "prompt": "a torii gate at dawn"}',
        '{"seed": 7, "num_outputs": 2, "prompt": "a torii gate at dawn", "aspect_ratio": "1:1"}',
        '{"seed": 7, "num_outputs": 2, "prompt": "a torii gate\\u0020at dawn", "prompt_upsampling": false}',
    ],
)
def test_two_spellings_of_one_request_are_one_fingerprint(models: Catalogue, text: str) -> None:
    """Order of keys, spelling of numbers and texts, and defaults left out or written make no difference."""
    assert of(models, text) == of(models, json.dumps(BODY))


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "a torii gate at dusk"},
        {"prompt": "a torii gate at dawn "},
        {"prompt": "A torii gate at dawn"},
        {"seed": 8},
        {"resolution": "0.5 MP"},
        {"num_outputs": 1},
        {"aspect_ratio": "16:9"},
        {"output_format": "webp"},
        {"prompt_upsampling": True},
        {"safety_tolerance": 1},
    ],
)
def test_whatever_changes_the_picture_changes_the_fingerprint(models: Catalogue, other: dict[str, object]) -> None:
    """Each parameter counts, and a prompt to the letter."""
    assert of(models, json.dumps({**BODY, **other})) != of(models, json.dumps(BODY))


def test_scope_model_version_and_key_are_part_of_it(models: Catalogue) -> None:
    """The same words in another team, model, version of the model or installation are another request."""
    model = models.model("flux-2-max")
    said = parameters.canonical(model, BODY)
    changed = dataclasses.replace(model, version="another")
    found = {
        fingerprint.of(KEY, "team_a", model, said),
        fingerprint.of(KEY, "team_b", model, said),
        fingerprint.of(KEY, "team_a", changed, said),
        fingerprint.of(KEY, "team_a", models.model("flux-2-klein-9b"), said),
        fingerprint.of(Key(bytes(32)), "team_a", model, said),
    }
    assert len(found) == 5


def test_a_price_forgets_no_picture(models: Catalogue) -> None:
    """Prices, words and typical seconds of a model have no part in the fingerprint."""
    model = models.model("flux-2-max")
    said = parameters.canonical(model, BODY)
    priced = dataclasses.replace(model, prices={}, description="", typical_s=1.0)
    assert fingerprint.of(KEY, "team_a", priced, said) == fingerprint.of(KEY, "team_a", model, said)


@given(st.text(min_size=1), st.text(min_size=1), st.text(), st.text())
def test_no_text_runs_into_its_neighbour(one: str, other: str, scope: str, more: str) -> None:
    """Scope and prompt are told apart wherever a boundary between them could be moved."""
    model = catalogue.load().model("flux-2-max")
    first = fingerprint.of(KEY, scope, model, {"prompt": one})
    second = fingerprint.of(KEY, scope + more, model, {"prompt": other})
    assert (first == second) == ((scope, one) == (scope + more, other))


def test_a_request_is_seeded_by_its_seed_alone(models: Catalogue) -> None:
    """Seed 0 is a seed; none is none."""
    model = models.model("flux-2-max")
    assert fingerprint.seeded(parameters.canonical(model, {"prompt": "x", "seed": 0}))
    assert not fingerprint.seeded(parameters.canonical(model, {"prompt": "x"}))


def test_a_key_shows_nothing_and_has_its_length() -> None:
    """The key stays out of repr, and a short one is refused."""
    assert repr(KEY) == "Key()"
    with pytest.raises(ValueError, match="32 bytes"):
        Key(b"short")
