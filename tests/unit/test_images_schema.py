"""What callers read about models, in the upstream's own shape."""

import dataclasses
from decimal import Decimal

import jsonschema
import pytest

from gateway import errors
from gateway.images import catalogue, price, schema
from gateway.images.model import Parameter

CATALOGUE = catalogue.load()
MAX = CATALOGUE.model("flux-2-max")


def test_the_request_schema_is_a_schema() -> None:
    """Every model's request schema is valid JSON Schema that refuses unknown fields and requires the prompt."""
    for model in CATALOGUE:
        described = schema.request_schema(model)
        jsonschema.Draft202012Validator.check_schema(described)
        assert (described["type"], described["additionalProperties"], described["required"]) == (
            "object",
            False,
            ["prompt"],
        )


def test_the_request_schema_of_flux_2_max() -> None:
    """Types, defaults, enums and limits stand in the schema as in the catalogue; an absent seed has no default."""
    properties = schema.request_schema(MAX)["properties"]
    assert list(properties) == [parameter.name for parameter in MAX.parameters] + ["torii", "webhook_url"]
    bare = {name: {k: v for k, v in row.items() if k != "description"} for name, row in properties.items()}
    assert bare["prompt"] == {"type": "string", "minLength": 1, "maxLength": 10_000}
    assert bare["resolution"] == {"type": "string", "default": "1 MP", "enum": ["0.5 MP", "1 MP", "2 MP", "4 MP"]}
    assert bare["num_outputs"] == {"type": "integer", "default": 1, "minimum": 1, "maximum": 4}
    assert bare["prompt_upsampling"] == {"type": "boolean", "default": False}
    assert bare["seed"] == {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
    assert all(row["description"] for row in properties.values())


def test_the_gateways_own_object_is_in_the_schema() -> None:
    """A body with the torii object, as callers send it here, is valid by the published schema."""
    body = {"prompt": "a", "torii": {"metadata": {"order": 3}}}
    jsonschema.validate(body, schema.request_schema(MAX))


def test_a_card_is_as_the_upstream_shows_a_model() -> None:
    """A card has the upstream's fields, and credits as plain numbers."""
    assert schema.card(MAX, detailed=False) == {
        "apiId": "flux-2-max",
        "name": "Flux 2 Max",
        "description": "The highest fidelity image model from Black Forest Labs",
        "modality": "image",
        "creditCost": {"default": 2, "type": "resolution", "amount": 2},
        "capabilities": ["text-to-image"],
    }


def test_fractional_credits_are_decimals() -> None:
    """A price of one and a half credits is the decimal 1.5, never a binary float."""
    amount = schema.card(CATALOGUE.model("flux-2-flex"), detailed=False)["creditCost"]["amount"]
    assert (type(amount), str(amount)) == (Decimal, "1.5")


def test_one_price_for_all_is_fixed() -> None:
    """Where every resolution costs the same, the cost is of type fixed."""
    model = price.reprice(price.reprice(MAX, "2 MP", 2_000_000), "4 MP", 2_000_000)
    assert schema.card(model, detailed=False)["creditCost"] == {"default": 2, "type": "fixed", "amount": 2}


def test_a_detailed_card_adds_parameters_schema_and_prices() -> None:
    """Details add the parameter table, the request schema, and each resolution's price or bound."""
    detailed = schema.card(MAX, detailed=True)
    assert schema.card(MAX, detailed=False).keys() < detailed.keys()
    assert detailed["requestSchema"] == schema.request_schema(MAX)
    assert [row["name"] for row in detailed["parameters"]] == [parameter.name for parameter in MAX.parameters]
    assert detailed["parameters"][1]["type"] == "enum"
    assert detailed["creditCost"]["resolutions"] == {
        "0.5 MP": {"amount": 2, "bound": False},
        "1 MP": {"amount": 2, "bound": False},
        "2 MP": {"amount": 4, "bound": True},
        "4 MP": {"amount": 8, "bound": True},
    }


def test_reference_images_show_as_image_to_image() -> None:
    """A model with reference images switched on says image-to-image and shows a list of texts."""
    references = Parameter(name="images", type="images", description="", minimum=1, maximum=8)
    model = dataclasses.replace(MAX, parameters=(*MAX.parameters, references), references="images")
    detailed = schema.card(model, detailed=True)
    assert detailed["capabilities"] == ["text-to-image", "image-to-image"]
    assert detailed["parameters"][-1]["type"] == "array"
    described = detailed["requestSchema"]["properties"]["images"]
    assert (described["type"], described["minItems"], described["maxItems"]) == ("array", 1, 8)
    assert detailed["referenceImages"] == {"parameter": "images", "list": True, "maximum": 8, "creditCost": 0}
    assert "referenceImages" not in schema.card(MAX, detailed=True)
    jsonschema.Draft202012Validator.check_schema(detailed["requestSchema"])


def test_one_reference_image_shows_as_a_text() -> None:
    """Where a model starts from one picture and takes no list, its parameter is a string."""
    reference = Parameter(name="image_url", type="image", description="")
    model = dataclasses.replace(MAX, parameters=(*MAX.parameters, reference), references="image_url")
    detailed = schema.card(model, detailed=True)
    assert detailed["parameters"][-1]["type"] == "string"
    assert detailed["requestSchema"]["properties"]["image_url"]["type"] == "string"
    assert detailed["referenceImages"] == {"parameter": "image_url", "list": False, "maximum": 1, "creditCost": 0}
    jsonschema.Draft202012Validator.check_schema(detailed["requestSchema"])


def test_the_listing_counts_what_it_shows() -> None:
    """A listing holds all models in order, and its counts agree with it."""
    body = schema.listing(CATALOGUE)
    assert [card["apiId"] for card in body["models"]] == [model.api_id for model in CATALOGUE]
    assert (body["total"], body["imageCount"], body["videoCount"]) == (4, 4, 0)
    assert "requestSchema" in schema.listing(CATALOGUE, detailed=True)["models"][0]


@pytest.mark.parametrize(("modality", "total"), [(None, 4), ("image", 4), ("video", 0)])
def test_a_listing_is_filtered_by_modality(modality: str | None, total: int) -> None:
    """Only models of the modality asked for are listed; there is no video here."""
    assert schema.listing(CATALOGUE, modality=modality)["total"] == total


def test_an_unknown_modality_is_refused() -> None:
    """A modality that does not exist is the caller's mistake, not an empty list."""
    with pytest.raises(errors.InvalidParameter) as caught:
        schema.listing(CATALOGUE, modality="sound")
    assert caught.value.param == "modality"


def test_each_answer_is_fresh() -> None:
    """Whoever changes an answer changes nobody else's."""
    schema.card(MAX, detailed=True)["parameters"].clear()
    schema.request_schema(MAX)["properties"].clear()
    assert schema.card(MAX, detailed=True)["parameters"]
    assert schema.request_schema(MAX)["properties"]
