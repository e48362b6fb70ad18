"""The derived keys: separate by use and by secret, stable for ever, and never shown."""

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway import errors
from gateway.settings import keyring

OLD, NEW = SecretStr("old secret of at least 32 characters"), SecretStr("new secret of at least 32 characters")


def test_derivation_is_pinned() -> None:
    """These keys are written into rows and links: another release derives the very same ones."""
    ring = keyring.derive([OLD])
    key = ring.api_keys[0]
    expected = HKDF(SHA256(), 32, None, b"torii/v1/api-keys/key").derive(OLD.get_secret_value().encode())
    assert key.key == expected
    assert (key.id, ring.image_links[0].id) == ("07f860d2", "63176175")
    assert key.key.hex()[:16] == "91e3813c3c02923c"


def test_rotation_keeps_the_keys_of_each_secret() -> None:
    """Appending a secret, moving it first and dropping the old one change the order and never a key."""
    appended, moved, dropped = (keyring.derive(list_) for list_ in ([OLD, NEW], [NEW, OLD], [NEW]))
    assert appended.api_keys == moved.api_keys[::-1]
    assert dropped.api_keys == moved.api_keys[:1]
    assert keyring.derive([OLD]).image_links == appended.image_links[:1]


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=32), min_size=1, max_size=4))
def test_no_two_keys_are_alike(texts: list[str]) -> None:
    """Every use of every secret has a key and a public id of its own; an element given twice counts once."""
    ring = keyring.derive([SecretStr(text) for text in texts])
    keys = [*ring.api_keys, *ring.image_links]
    assert len(ring.api_keys) == len(ring.image_links) == len(set(texts))
    assert len({key.key for key in keys}) == len({key.id for key in keys}) == len(keys)
    assert all(
        len(key.key) == 32 and len(key.id) == 8 and not key.key.startswith(bytes.fromhex(key.id)) for key in keys
    )


def test_no_secret_no_keys() -> None:
    """Without a secret there is an error that names the variable, never a key."""
    with pytest.raises(errors.SettingError, match=r"^TORII_SECRET_KEY") as caught:
        keyring.derive([])
    assert caught.value.param == "TORII_SECRET_KEY"


def test_repr_shows_no_key() -> None:
    """Neither the ring nor a key shows key material."""
    ring = keyring.derive([OLD])
    assert repr(ring) == "Keyring()"
    assert ring.api_keys[0].key.hex() not in repr(ring.api_keys[0])
    assert repr(ring.api_keys[0].key) not in repr(ring.api_keys[0])
