"""Denied terms: what they are found in, however it is written, and what they are not found in."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission import terms


def holds(text: str, term: str) -> bool:
    """Whether the text holds the term."""
    return terms.needle(term) in terms.haystack(text)


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("nude", "a NUDE by the sea"),
        ("nude", "\uff4e\uff55\uff44\uff45"),
        ("nude", "n\u200bu\u00adde"),
        ("bare skin", "bare-skin"),
        ("bare skin", "Bare \n SKIN, please"),
        ("café", "a cafe\u0301"),
        ("café", "a cafe\u200d\u0301"),
        ("straße", "STRASSE"),
        ("裸", "全裸体画"),
        ("porn", "日本porn画像"),
        ("日本porn", "日本PORN"),
        ("กิน", "ไม่กินข้าว"),
        ("🍆", "an 🍆🏽 at dawn"),
        ("4chan", "as on 4chan."),
    ],
)
def test_a_term_is_found_however_it_is_written(term: str, text: str) -> None:
    """Case, width, spacing, invisible characters and a script without spaces hide no term."""
    assert holds(text, term)


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("ass", "a class of grass"),
        ("nude", "denuded, nudes"),
        ("bare skin", "skin, bare"),
        ("bare skin", "bare skinny dog"),
        ("cafe", "a café"),
        ("กิน", "กัน"),
        ("4chan", "24chan"),
    ],
)
def test_a_term_stands_for_whole_words(term: str, text: str) -> None:
    """A term is not found inside another word, in another order, or with another mark."""
    assert not holds(text, term)


@pytest.mark.parametrize("term", ["", " ", "!?", "\u200b", "\u0301", "--"])
def test_a_term_without_a_word_is_looked_for_nowhere(term: str) -> None:
    """What holds no letter, digit or symbol gives nothing to look for."""
    assert terms.needle(term) == ""


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=20))
def test_a_term_between_words_is_found(before: str, after: str, term: str) -> None:
    """Between two spaces every term is found, in any case and any normal form, whatever stands around."""
    for spelled in (term, term.upper().lower(), unicodedata.normalize("NFD", term)):
        if terms.fold(spelled) == terms.fold(term):
            assert holds(f"{before} {spelled} {after}", term)


@given(st.text(max_size=60))
def test_folding_twice_is_folding_once(text: str) -> None:
    """A folded text folds to itself, so that what is compared has one spelling."""
    folded = terms.fold(text)
    assert terms.fold(folded) == folded


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=60))
def test_the_short_way_for_ascii_is_the_same_way(text: str) -> None:
    """An ASCII text folds as it does beside a text that is not."""
    assert f"{terms.fold(text)} é".lstrip() == terms.fold(f"{text} é")
