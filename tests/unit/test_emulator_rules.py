"""The emulator's rules: switches and their lines, the check of a body, the page that documents it all."""

import importlib.resources
import json
from typing import Any, get_args

import jsonschema
import msgspec
import pytest

from emulator import board, catalogue, limiter, order, switches

TABLE = importlib.resources.files("emulator").joinpath("README.md").read_text("utf-8")


def _turned(**given: Any) -> board.Board:
    found = board.Board(1.0)
    found.turn({name: msgspec.Raw(msgspec.json.encode(value)) for name, value in given.items()})
    return found


def test_the_first_rule_that_matches_is_taken() -> None:
    """Rules form a sequence: each strikes as often as it says, then the next, then none."""
    line = _turned(
        poll_fault=[{"kind": "status", "status": 429, "times": 2}, {"kind": "cut_after", "times": 1}]
    ).faults["poll_fault"]
    taken = [line.take() for _ in range(4)]
    assert [None if rule is None else rule.kind for rule in taken] == ["status", "status", "cut_after", None]
    assert line.rules() == []


def test_a_rule_may_wait() -> None:
    """`after` lets so many matching requests pass; others do not count."""
    line = _turned(submit_fault={"kind": "hang", "after": 1, "prompt_contains": "gate"}).faults["submit_fault"]
    struck = [line.take(prompt=prompt) is not None for prompt in ("other", "a gate", "other", "a gate", "a gate")]
    assert struck == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("no_such_switch", 1),
        ("job_list", "yes"),
        ("duration_s", {"min": 5, "max": 1}),
        ("duration_s", -1),
        ("result_ttl_s", -0.5),
        ("prices", {"flux-2-max": "dear"}),
        ("prices", {"flux-2-max": {"1 MP": -1}}),
        ("submit_fault", {"kind": "explode"}),
        ("submit_fault", {"kind": "status", "status": 99}),
        ("submit_fault", [{"kind": "status", "unknown_field": 1}]),
        ("outcome", {"kind": "failed", "error": "poem"}),
    ],
)
def test_a_bad_switch_is_named(name: str, value: Any) -> None:
    """An unknown switch or a value it cannot take is refused by name, and nothing is turned."""
    found = board.Board(1.0)
    before = found.shown()
    given = {"assets": True, name: value}
    with pytest.raises(board.Rejected, match=name):
        found.turn({key: msgspec.Raw(msgspec.json.encode(item)) for key, item in given.items()})
    assert found.shown() == before


def test_every_switch_and_kind_is_documented() -> None:
    """A switch, kind or field that README.md does not name does not exist for the person who needs it."""
    names = set(board.Board(1.0).shown())
    names |= {*get_args(switches.FaultKind), *get_args(switches.OutcomeKind)}
    names |= {*switches.Fault.__struct_fields__, *switches.Outcome.__struct_fields__} - {"kind", "job_id"}
    assert [name for name in sorted(names) if f"`{name}" not in TABLE] == []


@pytest.mark.parametrize("api_id", [*catalogue.load()])
def test_a_schema_is_a_schema(api_id: str) -> None:
    """Each model's request schema is valid JSON Schema and closed."""
    schema = catalogue.request_schema(catalogue.load()[api_id])
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False


BODIES: list[tuple[Any, str | None]] = [
    ({"prompt": "gate"}, None),
    ({"prompt": "gate", "resolution": "0.5 MP", "num_outputs": 4, "seed": 0, "output_format": "webp"}, None),
    ({}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": 7}, "prompt"),
    ({"prompt": "gate", "aspect_ratio": "7:1"}, "aspect_ratio"),
    ({"prompt": "gate", "resolution": "1MP"}, "resolution"),
    ({"prompt": "gate", "num_outputs": 0}, "num_outputs"),
    ({"prompt": "gate", "num_outputs": 5}, "num_outputs"),
    ({"prompt": "gate", "num_outputs": True}, "num_outputs"),
    ({"prompt": "gate", "safety_tolerance": 6}, "safety_tolerance"),
    ({"prompt": "gate", "prompt_upsampling": 1}, "prompt_upsampling"),
    ({"prompt": "gate", "seed": 1.5}, "seed"),
    ({"prompt": "gate", "output_format": "jpeg"}, "output_format"),
    ({"prompt": "gate", "input_images": ["https://example.com/a.png"]}, "input_images"),
    ({"prompt": "gate", "input": {}}, "input"),
]


@pytest.mark.parametrize(("body", "field"), BODIES)
def test_a_body_is_checked_as_its_schema_says(body: dict[str, Any], field: str | None) -> None:
    """What the published schema refuses is refused, naming the field, and nothing else is."""
    model = catalogue.load()["flux-2-max"]
    assert jsonschema.Draft202012Validator(catalogue.request_schema(model)).is_valid(body) is (field is None)
    encoded = json.dumps(body).encode()
    if field is None:
        assert order.read(model, encoded, webhooks=True).parameters == body
    else:
        with pytest.raises(order.Invalid, match=field):
            order.read(model, encoded, webhooks=True)


def test_a_model_with_references_bounds_them() -> None:
    """A model with reference images takes an array of strings within its bounds; flux-2-max takes none."""
    model = catalogue.load()["p-image-edit"]
    for images in ([], ["u"] * 6, "u", [1]):
        with pytest.raises(order.Invalid, match="images"):
            order.read(model, json.dumps({"prompt": "gate", "images": images}).encode(), webhooks=True)
    assert order.read(model, b'{"prompt": "gate", "images": ["u"]}', webhooks=True).parameters["images"] == ["u"]


def test_the_limiter_counts_a_window() -> None:
    """So many requests a window are admitted, the next is told when the window ends."""
    gate = limiter.Limiter()
    answers = [gate.admit(1000.0 + at, 2, 60.0) for at in (0, 1, 2, 60)]
    assert [admitted for admitted, _ in answers] == [True, True, False, True]
    assert answers[2][1] == {
        "X-RateLimit-Limit": "2",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "1060",
        "Retry-After": "58",
    }
