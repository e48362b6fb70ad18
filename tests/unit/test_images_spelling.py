"""How other people's words appear in our messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.images import spelling

KNOWN = ("prompt", "aspect_ratio", "num_outputs", "output_format", "seed")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("aspectRatio", "aspect_ratio"),
        ("aspect-ratio", "aspect_ratio"),
        ("Prompt", "prompt"),
        ("promt", "prompt"),
        ("num_output", "num_outputs"),
        ("outputFormat", "output_format"),
        ("steps", None),
        ("", None),
        ("x" * 100_000, None),
    ],
)
def test_a_misspelt_name_finds_its_neighbour(word: str, meant: str | None) -> None:
    """The nearest known name is suggested whatever its capitals and underscores, and none where none is close."""
    assert spelling.nearest(word, KNOWN) == meant


@given(st.text(st.characters()))
def test_a_shown_text_is_short_and_harmless(text: str) -> None:
    """Whatever the text, what is shown can be encoded, fits on a line, and is no longer than the limit."""
    shown = spelling.plain(text)
    assert shown.isprintable()
    assert len(shown) <= spelling.SHOWN_CHARACTERS + 1
    assert shown.encode().decode() == shown


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=spelling.SHOWN_CHARACTERS))
def test_a_short_plain_text_is_shown_as_it_is(text: str) -> None:
    """A short printable text is shown unchanged."""
    assert spelling.plain(text) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (-2.5, "-2.5"),
        pytest.param(10**5_000, "an integer of very many digits", id="endless"),
        ("a\nb", '"a\\nb"'),
        ("\ud800", '"\\ud800"'),
        (["a"], "a list"),
        ({"a": 1}, "an object"),
    ],
)
def test_a_value_is_shown_by_its_json_name(value: object, shown: str) -> None:
    """Values appear as JSON calls them; lists, objects and endless integers only by their kind."""
    assert spelling.shown(value) == shown
