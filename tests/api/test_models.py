"""The models, for anyone: what the catalogue says, in PixelDojo's shapes."""

import pytest
from jsonschema import Draft202012Validator

from tests.api.door import GOOD, Door


async def test_models_are_listed_without_a_key(door: Door) -> None:
    """The list has PixelDojo's members and flux-2-max at 2 credits; `detailed` adds parameters and prices."""
    plain = (await door.client.get("/api/v1/models")).json()
    detailed = (await door.client.get("/api/v1/models", params={"detailed": "true"})).json()
    assert plain["total"] == plain["imageCount"] == len(plain["models"])
    assert plain["videoCount"] == 0
    card = next(model for model in plain["models"] if model["apiId"] == "flux-2-max")
    assert card["creditCost"] == {"default": 2, "type": "resolution", "amount": 2}
    assert "requestSchema" not in card
    full = next(model for model in detailed["models"] if model["apiId"] == "flux-2-max")
    assert full["creditCost"]["resolutions"]["4 MP"] == {"amount": 8, "bound": True}
    assert full == (await door.client.get("/api/v1/models/flux-2-max")).json()


@pytest.mark.parametrize(("modality", "total"), [("image", 4), ("video", 0)])
async def test_models_are_listed_by_modality(door: Door, modality: str, total: int) -> None:
    """`modality` narrows the list; there is no video here, and asking for it is no mistake."""
    assert (await door.client.get("/api/v1/models", params={"modality": modality})).json()["total"] == total


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("detailed=maybe", "detailed"),
        ("detailed=", "detailed"),
        ("modality=audio", "modality"),
        ("modality=a&modality=b", "modality"),
    ],
)
async def test_a_bad_query_is_named(door: Door, query: str, param: str) -> None:
    """A query parameter with a value that means nothing is a 400 that names it."""
    answer = await door.client.get(f"/api/v1/models?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_a_models_schema_accepts_what_run_accepts(door: Door) -> None:
    """A model's schema is a JSON Schema under its id that takes a good body and refuses a bad one."""
    body = (await door.client.get("/api/v1/models/flux-2-max/schema")).json()
    assert body.keys() == {"apiId", "schema"}
    assert body["apiId"] == "flux-2-max"
    validator = Draft202012Validator(body["schema"])
    assert validator.is_valid(GOOD)
    assert not validator.is_valid({**GOOD, "num_outputs": 9})


@pytest.mark.parametrize("tail", ["", "/schema"])
async def test_an_unknown_model_suggests_the_nearest(door: Door, tail: str) -> None:
    """An unknown model is a 404 that names what was probably meant."""
    answer = await door.client.get(f"/api/v1/models/flux-2-mx{tail}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert "flux-2-max" in answer.json()["detail"]
