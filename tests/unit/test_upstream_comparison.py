"""What counts as a difference between our catalogue and the upstream's, and how its list is read."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from gateway import errors
from gateway.images import catalogue, schema
from gateway.upstream import comparison, listing
from gateway.upstream.comparison import Difference, Kind
from gateway.upstream.listing import Offer

OURS = catalogue.load()
MODEL = "flux-2-max"


def offered(**rows: dict[str, Any] | None) -> list[Offer]:
    """What an upstream offers that has exactly our models, with these rows of one model changed or left out."""
    found = []
    for model in OURS:
        told = schema.request_schema(model)
        properties = {name: row for name, row in told["properties"].items() if name not in ("torii", "webhook_url")}
        if model.api_id == MODEL:
            changed = {**properties, **rows}
            properties = {name: row for name, row in changed.items() if row is not None}
        properties["webhook_url"] = {"type": "string"}
        shown = {"type": "object", "required": told["required"], "properties": properties}
        amount = schema.card(model, detailed=False)["creditCost"]["amount"]
        found.append(Offer(model.api_id, "image", int(amount * 1_000_000), shown))
    return found


def row(name: str, **members: Any) -> dict[str, Any]:
    """Our own row of that parameter with other members; none takes a member away."""
    properties = schema.request_schema(OURS.model(MODEL))["properties"]
    return {key: value for key, value in {**properties[name], **members}.items() if value is not None}


def test_the_same_is_no_difference() -> None:
    """An upstream that offers what we have differs in nothing; its callback and our options are no parameters."""
    assert comparison.compare(OURS, {}, offered()) == []


def test_wider_limits_other_words_and_orders_are_no_difference() -> None:
    """What takes all that we let through is the same: wider or no limits, another description, another order."""
    enum = row("aspect_ratio")["enum"]
    same = {
        "seed": row("seed", minimum=None, maximum=None, description="another"),
        "num_outputs": row("num_outputs", maximum=Decimal("8.0")),
        "aspect_ratio": row("aspect_ratio", enum=enum[::-1]),
        "prompt": row("prompt", maxLength=32_000),
        "resolution": row("resolution", type=["string", "null"]),
    }
    assert comparison.compare(OURS, {}, offered(**same)) == []


@pytest.mark.parametrize(
    ("changed", "kind", "ours", "theirs"),
    [
        ({"seed": None}, Kind.PARAMETER_REMOVED, None, None),
        ({"guidance": {"type": "number"}}, Kind.PARAMETER_ADDED, None, "optional"),
        ({"resolution": row("resolution", default="2 MP")}, Kind.DEFAULT, "1 MP", "2 MP"),
        ({"seed": row("seed", default=-1)}, Kind.DEFAULT, None, -1),
        ({"prompt_upsampling": row("prompt_upsampling", default=0)}, Kind.DEFAULT, False, 0),
        ({"resolution": row("resolution", enum=["1 MP"])}, Kind.ENUM, ["0.5 MP", "1 MP", "2 MP", "4 MP"], ["1 MP"]),
        ({"output_format": row("output_format", enum=None)}, Kind.ENUM, ["png", "jpg", "webp"], None),
        ({"seed": row("seed", type="string")}, Kind.TYPE, "integer", "string"),
        ({"num_outputs": row("num_outputs", maximum=2)}, Kind.RANGE, "maximum 4", "maximum 2"),
        ({"prompt": row("prompt", maxLength=4_000)}, Kind.RANGE, "maxLength 10000", "maxLength 4000"),
        ({"safety_tolerance": row("safety_tolerance", minimum=2)}, Kind.RANGE, "minimum 1", "minimum 2"),
    ],
)
def test_what_changes_an_order_is_a_difference(
    changed: dict[str, Any], kind: Kind, ours: object, theirs: object
) -> None:
    """A parameter that came or went, another default or set of values, a narrower limit: each is told by name."""
    (name,) = changed
    assert comparison.compare(OURS, {}, offered(**changed)) == [Difference(kind, MODEL, name, ours, theirs)]


def test_what_must_be_said_is_a_difference() -> None:
    """A parameter that the upstream has begun to require is told, ours and a new one."""
    offers = offered(style={"type": "string"})
    told = dict(offers[0].schema or {})
    told["required"] = ["prompt", "seed", "style"]
    offers[0] = replace(offers[0], schema=told)
    found = comparison.compare(OURS, {}, offers)
    assert found == [
        Difference(Kind.PARAMETER_ADDED, MODEL, "style", theirs="required"),
        Difference(Kind.REQUIRED, MODEL, "seed", ours=False, theirs=True),
    ]


def test_prices() -> None:
    """A price that is not ours is told, against the operator's where there is one; no price told is no difference."""
    offers = offered()
    offers[0] = replace(offers[0], cost_micros=2_500_000)
    assert comparison.compare(OURS, {}, offers) == [
        Difference(Kind.PRICE, MODEL, "resolution", ours=2, theirs=Decimal("2.5"))
    ]
    assert comparison.compare(OURS, {(MODEL, "1 MP"): 2_500_000, (MODEL, "4 MP"): 1}, offers) == []
    offers[0] = replace(offers[0], cost_micros=None)
    assert comparison.compare(OURS, {}, offers) == []


def test_models_that_came_and_went() -> None:
    """A model of ours that is gone or unlisted is told, and so is a new one for pictures, unless only ours count."""
    offers = [replace(offers, listed=False) for offers in offered()[:1]] + offered()[2:]
    offers += [Offer("brand-new", "image", 250_000), Offer("a-film", "video", 1)]
    gone, unlisted = Difference(Kind.GONE, list(OURS.models)[1]), Difference(Kind.UNLISTED, MODEL)
    assert comparison.compare(OURS, {}, offers, pinned=True) == [unlisted, gone]
    new = Difference(Kind.NEW, "brand-new", theirs=Decimal("0.25"))
    assert comparison.compare(OURS, {}, offers) == [unlisted, gone, new]


@pytest.mark.parametrize(
    "body",
    [None, [], "models", {}, {"models": None}, {"models": {}}, {"models": ["flux-2-max"]}, {"models": [{"apiId": 1}]}],
)
def test_what_is_no_list_is_not_read_as_an_empty_one(body: object) -> None:
    """A body without a list of models is refused: nothing is taken for gone because an answer could not be read."""
    with pytest.raises(errors.Unavailable, match="GET /models"):
        listing.offers(body)


@pytest.mark.parametrize(
    ("cost", "micros"),
    [
        ({"default": 2, "type": "fixed", "amount": Decimal("2.5")}, 2_500_000),
        ({"default": Decimal("0.1"), "type": "variable"}, 100_000),
        ({"amount": None, "default": 1}, 1_000_000),
        (3, 3_000_000),
        ({"amount": True}, None),
        ({"amount": "2"}, None),
        ({"amount": -1}, None),
        ({"amount": Decimal("1e999999")}, None),
        (None, None),
        ([], None),
    ],
)
def test_costs_are_read_leniently(cost: object, micros: int | None) -> None:
    """`amount` is the price, else `default`; what is no amount of credits is no price."""
    (offer,) = listing.offers({"models": [{"apiId": "x", "creditCost": cost, "modality": None, "requestSchema": 7}]})
    assert offer == Offer("x", "image", micros)


@pytest.mark.parametrize("body", [None, 1, [], {}, {"schema": None}, {"schema": {"properties": []}}, {"properties": 1}])
def test_what_is_no_schema_is_none(body: object) -> None:
    """Only an object with properties is taken for a schema."""
    assert listing.schema(body) is None
