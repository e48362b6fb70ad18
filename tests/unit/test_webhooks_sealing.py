"""Secrets of webhooks at rest."""

from pydantic import SecretStr

from gateway.settings import keyring
from gateway.webhooks import sealing
from gateway.webhooks.sealing import Sealed

OLD, NEW = SecretStr("old secret of at least 32 characters"), SecretStr("new secret of at least 32 characters")
SECRET = b"s" * 32


def test_a_sealed_secret_opens_for_its_row_alone() -> None:
    """What is stored shows nothing of the secret, opens for its own row, and for no other."""
    ring = keyring.derive([OLD]).webhook_secrets
    sealed = sealing.seal(ring[0], SECRET, "whs_1")
    assert SECRET not in sealed.data
    assert sealing.open(ring, sealed, "whs_1") == SECRET
    assert sealing.open(ring, sealed, "whs_2") is None
    assert sealing.seal(ring[0], SECRET, "whs_1").data != sealed.data


def test_a_rotation_of_the_key_is_followed() -> None:
    """An appended or moved key opens what the older one sealed; once that is dropped nothing does."""
    old = keyring.derive([OLD]).webhook_secrets
    sealed = sealing.seal(old[0], SECRET, "whs_1")
    for order in ([OLD, NEW], [NEW, OLD]):
        assert sealing.open(keyring.derive(order).webhook_secrets, sealed, "whs_1") == SECRET
    assert sealing.open(keyring.derive([NEW]).webhook_secrets, sealed, "whs_1") is None


def test_damaged_bytes_do_not_open() -> None:
    """A changed, cut or empty row opens to nothing, and raises nothing."""
    ring = keyring.derive([OLD]).webhook_secrets
    sealed = sealing.seal(ring[0], SECRET, "whs_1")
    changed = bytes([sealed.data[-1] ^ 1])
    for data in (sealed.data[:-1] + changed, sealed.data[:20], b""):
        assert sealing.open(ring, Sealed(data, sealed.key_id), "whs_1") is None


def test_keys_for_sealing_are_keys_of_their_own() -> None:
    """No other use of the secret has the same key or the same name for it."""
    ring = keyring.derive([OLD])
    keys = [ring.api_keys[0], ring.image_links[0], ring.webhook_secrets[0]]
    assert len({key.key for key in keys}) == len({key.id for key in keys}) == 3
