"""How a caller's parameters are checked and brought into their one spelling."""

import json
from collections.abc import Mapping
from pathlib import Path

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import errors
from gateway.images import catalogue, parameters, schema
from gateway.images.model import Model, Parameter, references
from gateway.images.model import with_references as put_references

MODEL = catalogue.load().model("flux-2-max")
NAMES = [parameter.name for parameter in MODEL.parameters]

any_text = st.text(st.characters())  # halves of surrogate pairs included, which st.text() alone leaves out
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=5,
)
likely_values = st.sampled_from([1, 1.0, True, "1", 5, 0, -1, 2**31, 2.5, "1:1", "1 MP", "jpg", "a fox", "", None])
bodies = st.dictionaries(st.sampled_from(NAMES) | any_text, likely_values | json_values, max_size=6)
valid_bodies = st.fixed_dictionaries(
    {
        "prompt": st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=50).filter(
            str.strip
        )
    },
    optional={
        "aspect_ratio": st.sampled_from(["1:1", "16:9", "4:3"]),
        "resolution": st.sampled_from(["0.5 MP", "1 MP", "2 MP", "4 MP"]),
        "num_outputs": st.integers(1, 4),
        "safety_tolerance": st.integers(1, 5),
        "prompt_upsampling": st.booleans(),
        "seed": st.integers(0, 2**31 - 1),
        "output_format": st.sampled_from(["png", "jpg", "webp"]),
    },
)


def refusal(body: Mapping[str, object]) -> errors.InvalidRequest | None:
    """The error with which the body is refused, or None; any other exception goes through."""
    try:
        parameters.canonical(MODEL, body)
    except errors.InvalidRequest as refused:
        return refused
    return None


def with_references(folder: Path, maximum: int = 2, more: str = "") -> Model:
    """A model with reference images switched on."""
    path = folder / "models.toml"
    path.write_text(
        f"""
[[model]]
api_id = "edit-1"
name = "Edit"
description = ""
modality = "image"
capabilities = ["text-to-image"]
typical_s = 44
parameters = "flux-2"

[model.prices]
"0.5 MP" = {{ credits = "2" }}
"1 MP" = {{ credits = "2" }}
"2 MP" = {{ credits = "4" }}
"4 MP" = {{ credits = "8" }}

[model.reference_images]
parameter = "input_images"
maximum = {maximum}
credits = "2"
{more}
""",
        encoding="utf-8",
    )
    return catalogue.load(path).model("edit-1")


def test_defaults_are_filled_in_and_in_catalogue_order() -> None:
    """A bare prompt becomes the whole request with its defaults, in the catalogue's order, and no seed."""
    filled = parameters.canonical(MODEL, {"prompt": "a fox"})
    assert list(filled.items()) == [
        ("prompt", "a fox"),
        ("aspect_ratio", "1:1"),
        ("resolution", "1 MP"),
        ("num_outputs", 1),
        ("safety_tolerance", 5),
        ("prompt_upsampling", False),
        ("output_format", "png"),
    ]


@given(valid_bodies)
def test_canonicalisation_is_idempotent(body: dict[str, object]) -> None:
    """Canonical parameters, also after a journey through JSON, are canonical already."""
    once = parameters.canonical(MODEL, body)
    assert parameters.canonical(MODEL, once) == once
    again = parameters.canonical(MODEL, json.loads(json.dumps(once)))
    assert list(again.items()) == list(once.items())


@given(valid_bodies, st.randoms())
def test_two_spellings_are_one_request(body: dict[str, object], random: object) -> None:
    """Order, defaults spelled out, and 3.0 for 3 make no other request: the JSON is byte for byte the same."""
    shuffled = [*parameters.canonical(MODEL, body).items()]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    other = {
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in shuffled
    }
    assert json.dumps(parameters.canonical(MODEL, other)) == json.dumps(parameters.canonical(MODEL, body))


@given(bodies)
@example({"prompt": "a", "seed": 10**5_000})
@example({"prompt": "a", "num_outputs": 1e308})
@example({"prompt": "a", "seed": float("nan")})
@example({"prompt": "\ud800"})
@example({"\ud800" * 200: 1})
def test_no_body_raises_anything_but_an_invalid_request(body: dict[str, object]) -> None:
    """Any JSON object is either accepted or refused with an error that can be sent: short, encodable, with a field."""
    refused = refusal(body)
    if refused is not None:
        assert refused.param is not None
        assert (refused.param + refused.message).encode()
        assert len(refused.message) < 300


@given(bodies)
def test_what_is_accepted_agrees_with_the_published_schema(body: dict[str, object]) -> None:
    """What is accepted is valid by the model's JSON Schema; what only the schema lets through is no text at all."""
    by_schema = jsonschema.Draft202012Validator(schema.request_schema(MODEL)).is_valid(body)
    refused = refusal(body)
    only_by_schema = ("blank", "U+0000", "surrogate")
    assert by_schema == (refused is None) or any(text in str(refused) for text in only_by_schema)


@given(valid_bodies)
def test_what_is_sent_holds_every_value_and_nothing_else(body: dict[str, object]) -> None:
    """The upstream body holds what the caller set and each default, and never a null."""
    sent = parameters.upstream_body(MODEL, parameters.canonical(MODEL, body))
    assert body.items() <= sent.items()
    assert sent["safety_tolerance"] == body.get("safety_tolerance", 5)
    assert ("seed" in sent) == ("seed" in body)
    assert None not in sent.values()


def test_foreign_fields_are_not_sent() -> None:
    """Whatever else stands beside canonical parameters, only the model's own go upstream."""
    assert parameters.upstream_body(MODEL, {"prompt": "a", "webhook_url": "x"}) == {"prompt": "a"}


@pytest.mark.parametrize(
    ("body", "kind", "param", "said"),
    [
        ({}, errors.MissingParameter, "prompt", "prompt is required"),
        ({"prompt": None}, errors.InvalidParameter, "prompt", "prompt may not be null"),
        ({"prompt": " \n"}, errors.InvalidParameter, "prompt", "prompt may not be blank"),
        ({"prompt": ""}, errors.InvalidParameter, "prompt", "prompt may not be blank"),
        ({"prompt": 3}, errors.InvalidParameter, "prompt", "prompt must be a string, not 3"),
        ({"prompt": ["a"]}, errors.InvalidParameter, "prompt", "prompt must be a string, not a list"),
        ({"prompt": "a\0b"}, errors.InvalidParameter, "prompt", "prompt may not contain the character U+0000"),
        (
            {"prompt": "a\ud800"},
            errors.InvalidParameter,
            "prompt",
            "prompt contains half of a surrogate pair, which is not text",
        ),
        (
            {"prompt": "x" * 10_001},
            errors.InvalidParameter,
            "prompt",
            "prompt may have at most 10000 characters, not 10001",
        ),
        (
            {"prompt": "a", "aspectRatio": "1:1"},
            errors.UnknownParameter,
            "aspectRatio",
            'flux-2-max has no parameter "aspectRatio"; did you mean "aspect_ratio"?',
        ),
        (
            {"prompt": "a", "steps": 4},
            errors.UnknownParameter,
            "steps",
            'flux-2-max has no parameter "steps"',
        ),
        (
            {"prompt": "a", "image_urls": []},
            errors.UnknownParameter,
            "image_urls",
            'flux-2-max has no parameter "image_urls"; reference images are switched off for it here',
        ),
        (
            {"prompt": "a", "num_outputs": 5},
            errors.InvalidParameter,
            "num_outputs",
            "num_outputs must be an integer from 1 to 4, not 5",
        ),
        (
            {"prompt": "a", "num_outputs": True},
            errors.InvalidParameter,
            "num_outputs",
            "num_outputs must be an integer from 1 to 4, not true",
        ),
        (
            {"prompt": "a", "num_outputs": "2"},
            errors.InvalidParameter,
            "num_outputs",
            'num_outputs must be an integer from 1 to 4, not "2"',
        ),
        (
            {"prompt": "a", "num_outputs": 1.5},
            errors.InvalidParameter,
            "num_outputs",
            "num_outputs must be an integer from 1 to 4, not 1.5",
        ),
        ({"prompt": "a", "seed": None}, errors.InvalidParameter, "seed", "seed may not be null; leave it out instead"),
        (
            {"prompt": "a", "seed": -1},
            errors.InvalidParameter,
            "seed",
            "seed must be an integer from 0 to 2147483647, not -1",
        ),
        (
            {"prompt": "a", "prompt_upsampling": 1},
            errors.InvalidParameter,
            "prompt_upsampling",
            "prompt_upsampling must be true or false, not 1",
        ),
        (
            {"prompt": "a", "output_format": "jpeg"},
            errors.InvalidParameter,
            "output_format",
            'output_format must be one of "png", "jpg", "webp", not "jpeg"',
        ),
    ],
)
def test_a_refusal_names_the_field_and_what_is_allowed(
    body: dict[str, object], kind: type[errors.InvalidRequest], param: str, said: str
) -> None:
    """Each refusal is of its own kind, names the field, and says what would be right."""
    with pytest.raises(errors.InvalidRequest) as caught:
        parameters.canonical(MODEL, body)
    assert (type(caught.value), caught.value.param, caught.value.message) == (kind, param, said)


def test_a_refused_prompt_is_never_shown() -> None:
    """An error about a prompt holds none of its words, since errors are logged."""
    for prompt in ("secret\0", "secret\ud800", "secret " * 2_000):
        with pytest.raises(errors.InvalidParameter) as caught:
            parameters.canonical(MODEL, {"prompt": prompt})
        assert "secret" not in caught.value.message


def test_a_prompt_of_full_length_is_kept_as_it_is() -> None:
    """Ten thousand characters of any script, blanks around them included, pass unchanged."""
    prompt = " " + "狐" * 9_998 + "\n"
    assert parameters.canonical(MODEL, {"prompt": prompt})["prompt"] == prompt


@pytest.mark.parametrize(("value", "kept"), [(3, "3"), (3.0, "3"), (-0.0, "0"), (0.25, "0.25"), (2.5, "2.5")])
def test_a_number_has_one_spelling(value: float, kept: str) -> None:
    """Of a parameter of type number, an integral float is the integer."""
    strength = Parameter(name="strength", type="number", description="", minimum=0.0, maximum=3)
    assert json.dumps(parameters.checked(strength, value)) == kept


@pytest.mark.parametrize("value", [True, "1", 3.5, -1, float("nan"), float("inf"), 10**400, [1]])
def test_a_number_out_of_range_is_refused(value: object) -> None:
    """A number is a finite number within its limits, and no boolean."""
    strength = Parameter(name="strength", type="number", description="", minimum=0.0, maximum=3)
    with pytest.raises(errors.InvalidParameter):
        parameters.checked(strength, value)


def test_reference_images_are_accepted_once_the_model_names_them(tmp_path: Path) -> None:
    """With its parameter named, a model takes a list of URLs and sends it under that name."""
    model = with_references(tmp_path)
    accepted = parameters.canonical(model, {"prompt": "a", "input_images": ["https://example.org/a.png"]})
    assert accepted["input_images"] == ["https://example.org/a.png"]
    assert parameters.upstream_body(model, accepted)["input_images"] == ["https://example.org/a.png"]
    assert "input_images" not in parameters.canonical(model, {"prompt": "a"})


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ("https://example.org/a.png", "input_images"),
        ([], "input_images"),
        (["a", "b", "c"], "input_images"),
        ({}, "input_images"),
        (None, "input_images"),
        ([1], "input_images[0]"),
        (["a", ""], "input_images[1]"),
        (["\0"], "input_images[0]"),
        (["a", "x" * 2_084], "input_images[1]"),
    ],
)
def test_wrong_reference_images_are_refused(tmp_path: Path, value: object, param: str) -> None:
    """Reference images are a list of one to as many texts as the model takes; a wrong one is named by its place."""
    with pytest.raises(errors.InvalidParameter) as caught:
        parameters.canonical(with_references(tmp_path), {"prompt": "a", "input_images": value})
    assert caught.value.param == param
    assert param in caught.value.message


def test_a_model_that_starts_from_one_picture_takes_no_list(tmp_path: Path) -> None:
    """Where the catalogue says that the parameter is single, it is a text, and may be required."""
    model = with_references(tmp_path, maximum=1, more="single = true\nrequired = true")
    accepted = parameters.canonical(model, {"prompt": "a", "input_images": "upload_1"})
    assert parameters.canonical(model, accepted) == accepted
    assert references(model, accepted) == [("input_images", "upload_1")]
    for body in ({"prompt": "a", "input_images": ["upload_1"]}, {"prompt": "a"}):
        with pytest.raises(errors.InvalidRequest) as caught:
            parameters.canonical(model, body)
        assert caught.value.param == "input_images"


def test_reference_images_are_told_one_by_one(tmp_path: Path) -> None:
    """Each picture is named by its place, and another text can be put there; the parameters stay as they were."""
    model = with_references(tmp_path)
    accepted = parameters.canonical(model, {"prompt": "a", "input_images": ["upload_1", "https://example.org/a.png"]})
    assert references(model, accepted) == [
        ("input_images[0]", "upload_1"),
        ("input_images[1]", "https://example.org/a.png"),
    ]
    linked = put_references(model, accepted, {"upload_1": "https://torii.example/1"})
    assert linked["input_images"] == ["https://torii.example/1", "https://example.org/a.png"]
    assert accepted["input_images"] == ["upload_1", "https://example.org/a.png"]
    none = parameters.canonical(model, {"prompt": "a"})
    assert references(model, none) == []
    assert put_references(model, none, {"upload_1": "x"}) == none


def test_a_misspelt_reference_parameter_is_suggested(tmp_path: Path) -> None:
    """Where reference images are on, another model's name for them is a misspelling."""
    with pytest.raises(errors.UnknownParameter) as caught:
        parameters.canonical(with_references(tmp_path), {"prompt": "a", "input_image": "x"})
    assert caught.value.message.endswith('did you mean "input_images"?')
