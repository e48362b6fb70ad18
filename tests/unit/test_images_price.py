"""What a request holds before it is paid."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.images import catalogue, parameters, price
from gateway.images.model import Model, Parameter, Price

CATALOGUE = catalogue.load()
MAX = CATALOGUE.model("flux-2-max")
RESOLUTIONS = ("0.5 MP", "1 MP", "2 MP", "4 MP")

models = st.sampled_from(list(CATALOGUE))
resolutions = st.sampled_from(RESOLUTIONS)
counts = st.integers(1, 4)


def hold(model: Model, **wanted: object) -> int:
    """Micro-credits held for a prompt and what else is wanted."""
    return price.hold(model, parameters.canonical(model, {"prompt": "a", **wanted}))


@pytest.mark.parametrize(
    ("api_id", "micros", "firm"),
    [
        ("flux-2-max", (2_000_000, 2_000_000, 4_000_000, 8_000_000), (True, True, False, False)),
        ("flux-2-flex", (1_000_000, 1_500_000, 3_000_000, 5_000_000), (True, True, True, True)),
        ("flux-2-dev", (1_000_000, 1_000_000, 2_000_000, 4_000_000), (True, True, False, False)),
        ("flux-2-klein-9b", (500_000, 500_000, 1_000_000, 2_000_000), (True, True, False, False)),
    ],
)
def test_the_price_table(api_id: str, micros: tuple[int, ...], firm: tuple[bool, ...]) -> None:
    """The holds of one picture at 0.5, 1, 2 and 4 MP, and which of them are prices."""
    model = CATALOGUE.model(api_id)
    rows = [parameters.canonical(model, {"prompt": "a", "resolution": row}) for row in RESOLUTIONS]
    assert tuple(price.hold(model, row) for row in rows) == micros
    assert tuple(price.firm(model, row) for row in rows) == firm


def test_a_bare_prompt_holds_two_credits() -> None:
    """The seed's own example, a prompt for flux-2-max, holds its 2 credits."""
    assert hold(MAX) == 2_000_000


@given(models, resolutions, counts)
def test_each_picture_costs(model: Model, resolution: str, count: int) -> None:
    """A hold is a positive price times the number of pictures, with nothing lost to rounding."""
    one = hold(model, resolution=resolution)
    assert one > 0
    assert hold(model, resolution=resolution, num_outputs=count) == one * count


@given(models, st.tuples(resolutions, resolutions), st.tuples(counts, counts))
def test_more_never_holds_less(model: Model, pair: tuple[str, str], outputs: tuple[int, int]) -> None:
    """A larger resolution or another picture never lowers the hold."""
    small, large = sorted(pair, key=RESOLUTIONS.index)
    few, many = sorted(outputs)
    assert hold(model, resolution=small, num_outputs=few) <= hold(model, resolution=large, num_outputs=many)


@given(models, st.sampled_from(["png", "jpg", "webp"]), st.integers(0, 2**31 - 1), st.booleans())
def test_nothing_else_moves_the_price(model: Model, output_format: str, seed: int, upsampling: bool) -> None:
    """Format, seed and upsampling cost nothing."""
    assert hold(model, output_format=output_format, seed=seed, prompt_upsampling=upsampling) == hold(model)


def test_reference_images_raise_the_hold_and_make_it_a_bound() -> None:
    """Each reference image adds its bound to each picture, and the sum is no firm price."""
    references = Parameter(name="images", type="images", description="", minimum=1, maximum=8)
    model = dataclasses.replace(
        MAX, parameters=(*MAX.parameters, references), references="images", reference_micros=1_000_000
    )
    with_two = parameters.canonical(model, {"prompt": "a", "num_outputs": 3, "images": ["a", "b"]})
    assert price.hold(model, with_two) == 3 * 4_000_000
    assert not price.firm(model, with_two)
    assert price.firm(model, parameters.canonical(model, {"prompt": "a"}))


def test_an_operator_prices_one_resolution() -> None:
    """A price entered by an operator replaces a bound, is firm, and leaves all else, the version too, as it was."""
    priced = price.reprice(MAX, "4 MP", 6_500_000)
    large = parameters.canonical(priced, {"prompt": "a", "resolution": "4 MP"})
    assert price.unit(priced, large) == Price(6_500_000)
    assert (hold(priced, resolution="2 MP"), hold(MAX, resolution="4 MP")) == (4_000_000, 8_000_000)
    assert priced.version == MAX.version


@pytest.mark.parametrize(("row", "micros", "param"), [("8 MP", 1, "resolution"), ("1 MP", -1, "credits")])
def test_an_impossible_price_is_refused(row: str, micros: int, param: str) -> None:
    """An operator's price is for a resolution that exists, and not negative."""
    with pytest.raises(errors.InvalidParameter) as caught:
        price.reprice(MAX, row, micros)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("stored", "param"),
    [
        ({"num_outputs": 1}, "resolution"),
        ({"resolution": "9 MP", "num_outputs": 1}, "resolution"),
        ({"resolution": "1 MP"}, "num_outputs"),
        ({"resolution": "1 MP", "num_outputs": 0}, "num_outputs"),
    ],
)
def test_parameters_of_another_catalogue_are_refused(
    stored: dict[str, str | int | float | bool | list[str]], param: str
) -> None:
    """Stored parameters that the catalogue no longer prices are refused by name, never priced by guess."""
    with pytest.raises(errors.InvalidParameter) as caught:
        price.hold(MAX, stored)
    assert caught.value.param == param


def test_the_row_of_the_price_table_has_a_name() -> None:
    """A request falls into the row of its resolution; a model without resolutions has the row any."""
    assert price.resolution(MAX, parameters.canonical(MAX, {"prompt": "a"})) == "1 MP"
    plain = dataclasses.replace(MAX, resolution=None, outputs=None, prices={"any": Price(5)})
    assert price.resolution(plain, {"prompt": "a"}) == "any"
    assert price.hold(plain, {"prompt": "a"}) == 5
