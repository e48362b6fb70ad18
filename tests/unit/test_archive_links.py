"""Signed URLs of pictures: what verifies, and everything that must not."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway import errors, ids
from gateway.archive import links
from gateway.settings import keyring

OLD, NEW = SecretStr("old secret of at least 32 characters"), SecretStr("new secret of at least 32 characters")
RING = keyring.derive([NEW, OLD]).image_links
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BASE = "https://torii.example/x"


def parts(url: str) -> tuple[str, str, str, str]:
    """Id, extension, expiry and signature, as a route would see them."""
    split = urlsplit(url)
    image_id, _, extension = split.path.rpartition("/")[2].partition(".")
    query = parse_qs(split.query, strict_parsing=True)
    return image_id, extension, query["exp"][0], query["sig"][0]


def test_link_is_pinned() -> None:
    """The form and the signed message are a contract between releases that run side by side."""
    url, expires_at = links.sign(BASE, RING[0], "img_1", "png", NOW, 60)
    message = f"torii-image-v1\nimg_1\npng\n{int(NOW.timestamp()) + 60}".encode()
    signature = base64.urlsafe_b64encode(hmac.digest(RING[0].key, message, hashlib.sha256)).decode().rstrip("=")
    assert url == f"{BASE}/images/img_1.png?exp={int(NOW.timestamp()) + 60}&sig={signature}"
    assert expires_at == NOW + timedelta(seconds=60)


@given(st.integers(1, 10**8), st.integers(0, 999_999), st.sampled_from(["png", "jpg", "webp"]), st.sampled_from(RING))
def test_lives_as_long_as_promised(ttl_s: int, micros: int, extension: str, key: keyring.DerivedKey) -> None:
    """A link made with any key of the ring works for its whole life, less than a second longer, and not after."""
    now = NOW + timedelta(microseconds=micros)
    image = ids.image()
    url, expires_at = links.sign(BASE, key, image, extension, now, ttl_s)
    assert timedelta(0) <= expires_at - now - timedelta(seconds=ttl_s) < timedelta(seconds=1)
    links.verify(RING, *parts(url), now=now)
    links.verify(RING, *parts(url), now=now + timedelta(seconds=ttl_s, microseconds=-1))
    with pytest.raises(errors.BadLink):
        links.verify(RING, *parts(url), now=expires_at)


@given(st.integers(0, 3), st.text(max_size=50))
def test_nothing_else_verifies(index: int, text: str) -> None:
    """Change the id, the extension, the expiry or the signature in any way, and the link is bad."""
    good = list(parts(links.sign(BASE, RING[0], "img_1", "png", NOW, 60)[0]))
    for other in (
        text,
        good[index] + text,
        text + good[index],
        good[index] + "=",
        good[index] + "\n",
        "0" + good[index],
    ):
        if other == good[index]:
            continue
        forged = [*good[:index], other, *good[index + 1 :]]
        with pytest.raises(errors.BadLink):
            links.verify(RING, forged[0], forged[1], forged[2], forged[3], NOW)


@given(st.binary(min_size=32, max_size=32))
def test_no_signature_can_be_guessed_nor_spelled_otherwise(digest: bytes) -> None:
    """A signature of the right form by nobody's key is bad, and so is the right one in another spelling."""
    image_id, extension, expiry, signature = parts(links.sign(BASE, RING[0], "img_1", "png", NOW, 60)[0])
    last = signature[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = signature[:-1] + alphabet[alphabet.index(last) ^ 1]
    for other in (base64.urlsafe_b64encode(digest).decode().rstrip("="), twin, "\ud800", ""):
        with pytest.raises(errors.BadLink):
            links.verify(RING, image_id, extension, expiry, other, NOW)


def test_a_dropped_secret_ends_its_links() -> None:
    """Links outlive a rotation as long as the old secret stays in the list, and no longer."""
    url, _ = links.sign(BASE, keyring.derive([OLD]).image_links[0], "img_1", "png", NOW, 60)
    links.verify(RING, *parts(url), now=NOW)
    with pytest.raises(errors.BadLink):
        links.verify(keyring.derive([NEW]).image_links, *parts(url), now=NOW)
    with pytest.raises(errors.BadLink):
        links.verify((), *parts(url), now=NOW)


def test_keys_of_another_use_sign_no_links() -> None:
    """A key derived for API keys is no key for links."""
    url, _ = links.sign(BASE, keyring.derive([NEW]).api_keys[0], "img_1", "png", NOW, 60)
    with pytest.raises(errors.BadLink):
        links.verify(RING, *parts(url), now=NOW)


@pytest.mark.parametrize(("image", "extension"), [("", "png"), ("a/b", "png"), ("img", "p&g"), ("img\n", "png")])
def test_only_plain_names_are_signed(image: str, extension: str) -> None:
    """An id that would need escaping in a URL is a mistake of ours."""
    with pytest.raises(ValueError, match="not a picture"):
        links.sign(BASE, RING[0], image, extension, NOW, 60)


def test_a_link_of_an_upload_is_no_link_of_a_picture() -> None:
    """Links of uploads have a path and a signature of their own: neither kind is good for the other."""
    url, _ = links.sign(BASE, RING[0], "upload_1", "png", NOW, 60, folder=links.UPLOADS)
    assert url.startswith(f"{BASE}/uploads/upload_1.png?exp=")
    links.verify(RING, *parts(url), NOW, folder=links.UPLOADS)
    with pytest.raises(errors.BadLink):
        links.verify(RING, *parts(url), NOW)
    with pytest.raises(errors.BadLink):
        links.verify(RING, *parts(links.sign(BASE, RING[0], "upload_1", "png", NOW, 60)[0]), NOW, folder=links.UPLOADS)
