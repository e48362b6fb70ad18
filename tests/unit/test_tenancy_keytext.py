"""The text of an API key."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ids import BASE62
from gateway.tenancy import keytext, scopes
from gateway.tenancy.keytext import KeyText
from gateway.tenancy.scopes import Scope


def test_a_key_reads_back_as_itself() -> None:
    """A minted key has the published form and parses to what was minted."""
    minted = keytext.mint()
    text = minted.reveal()
    assert re.fullmatch(r"torii_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", text)
    assert keytext.parse(text) == minted


@given(st.integers(6, 67), st.sampled_from(BASE62))
def test_any_single_typo_is_known_without_a_store(position: int, digit: str) -> None:
    """One wrong character anywhere in the key fails its checksum."""
    text = KeyText(id="0123456789AB", secret="s" * 43).reveal()
    typo = text[:position] + digit + text[position + 1 :]
    assert (keytext.parse(typo) is not None) == (typo == text)


@pytest.mark.parametrize(
    "text", ["", "torii_", "pd_abc", "torii_" + "a" * 62, "torii_0123456789AB_" + "é" * 49, "\x00"]
)
def test_what_is_no_key_is_none(text: str) -> None:
    """Text that has not the form of a key is refused before any look-up."""
    assert keytext.parse(text) is None


def test_the_secret_is_not_in_the_repr() -> None:
    """Neither the key's text nor its secret can leak through repr or str."""
    minted = keytext.mint()
    assert minted.secret not in repr(minted)
    assert minted.secret not in str(minted)


def test_the_digest_depends_on_the_derived_key() -> None:
    """The same key has another digest under another secret, so a stolen table is useless without it."""
    minted = keytext.mint()
    assert keytext.digest(b"a" * 32, minted) != keytext.digest(b"b" * 32, minted)
    assert len(keytext.digest(b"a" * 32, minted)) == 32


def test_scopes_survive_their_column() -> None:
    """Scopes written to the column are the scopes read from it."""
    for granted in (frozenset({Scope.GENERATE}), frozenset(Scope), scopes.DEFAULT):
        assert scopes.read(scopes.spell(granted)) == granted
