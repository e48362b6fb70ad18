"""OpenAI's words for a picture, in a model's own: sizes, numbers, forms, and what is refused."""

from typing import Any

import pytest

from gateway import errors
from gateway.images import catalogue, sizes
from service import openai_orders

MODELS = catalogue.load()
MAX = MODELS.model("flux-2-max")
ASKED = {"model": "flux-2-max", "prompt": "a gate"}

SIZES = [
    ("1024x1024", "1:1", "1 MP"),
    ("1536x1024", "3:2", "1 MP"),
    ("1024x1536", "2:3", "1 MP"),
    ("1792x1024", "16:9", "1 MP"),
    ("1024x1792", "9:16", "1 MP"),
    ("256x256", "1:1", "0.5 MP"),
    ("1x1", "1:1", "0.5 MP"),
    ("1023x1024", "1:1", "0.5 MP"),
    ("1448x1448", "1:1", "1 MP"),
    ("2048x1024", "16:9", "2 MP"),
    ("2048x2048", "1:1", "4 MP"),
    ("99999x99999", "1:1", "4 MP"),
    ("99999x1", "16:9", "0.5 MP"),
    ("1200x1000", "5:4", "1 MP"),
]


@pytest.mark.parametrize(("size", "ratio", "resolution"), SIZES)
def test_a_size_is_the_nearest_ratio_and_no_more_pixels_than_asked(size: str, ratio: str, resolution: str) -> None:
    """The ratio is the nearest by logarithm; the resolution the largest not above the pixels, or else the least."""
    assert sizes.fit(MAX, size) == {"aspect_ratio": ratio, "resolution": resolution}


def test_auto_leaves_the_models_own_defaults() -> None:
    """`auto` chooses nothing."""
    assert sizes.fit(MAX, "auto") == {}


@pytest.mark.parametrize("size", ["", "big", "1024", "0x1024", "1024x0", "-1x1", "1024X1024", "1e3x1", "٣x٣", 1024, []])
def test_what_is_no_size_is_refused(size: object) -> None:
    """Anything but `auto` and two whole numbers is an error that names `size`."""
    with pytest.raises(errors.InvalidParameter) as refused:
        sizes.fit(MAX, size)
    assert refused.value.param == "size"


@pytest.mark.parametrize(
    ("more", "body"),
    [
        ({}, {}),
        ({"n": 3}, {"num_outputs": 3}),
        ({"n": None, "size": None, "response_format": None}, {}),
        ({"output_format": "jpeg"}, {"output_format": "jpg"}),
        ({"output_format": "webp"}, {"output_format": "webp"}),
        ({"seed": 7, "safety_tolerance": 2}, {"seed": 7, "safety_tolerance": 2}),
        ({"quality": "hd", "style": "vivid", "user": "u", "moderation": "low", "safety_identifier": "s"}, {}),
        ({"stream": False, "partial_images": 0, "background": "opaque"}, {}),
        (
            {"size": "1024x1024", "aspect_ratio": "4:5", "resolution": "2 MP"},
            {"aspect_ratio": "4:5", "resolution": "2 MP"},
        ),
        ({"webhook_url": "https://a.example/h", "torii": {}}, {"webhook_url": "https://a.example/h", "torii": {}}),
        ({"colour": "red"}, {"colour": "red"}),  # the model refuses it by name
    ],
)
def test_an_order_is_the_models_own(more: dict[str, Any], body: dict[str, Any]) -> None:
    """OpenAI's names become the model's, what means nothing here goes, and the model's own words go before."""
    wanted = openai_orders.read(MODELS, {**ASKED, **more})
    assert wanted.body == {"prompt": "a gate", **body}
    assert wanted.model is MAX


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 0}, "n"),
        ({"n": 5}, "n"),
        ({"n": True}, "n"),
        ({"n": "2"}, "n"),
        ({"n": 1.5}, "n"),
        ({"stream": True}, "stream"),
        ({"partial_images": 1}, "partial_images"),
        ({"background": "transparent"}, "background"),
        ({"response_format": "png"}, "response_format"),
        ({"response_format": ["url"]}, "response_format"),
        ({"size": "wide"}, "size"),
        ({"model": 7}, "model"),
        ({"model": None}, "model"),
    ],
)
def test_what_never_comes_is_refused_by_name(more: dict[str, Any], param: str) -> None:
    """What its caller would wait for in vain, and what makes no sense, is an error that names OpenAI's field."""
    with pytest.raises(errors.InvalidRequest) as refused:
        openai_orders.read(MODELS, {**ASKED, **more})
    assert refused.value.param == param


def test_without_a_form_both_are_given() -> None:
    """Who asks for no `response_format` gets links and files; who asks for one gets that."""
    assert openai_orders.read(MODELS, ASKED).forms == {"url", "b64_json"}
    assert openai_orders.read(MODELS, {**ASKED, "response_format": "url"}).forms == {"url"}
