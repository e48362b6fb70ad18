"""Which URLs may be named for webhooks."""

import contextlib
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.webhooks import urls

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
PRIVATE = (ip_network("10.0.0.0/8"),)

REFUSED = [
    "",
    "hooks.example/x",
    "//hooks.example/x",
    "ftp://hooks.example/x",
    "file:///etc/passwd",
    "https://",
    "https:///x",
    "https://user@hooks.example/",
    "https://user:password@hooks.example/",
    "https://hooks.example/#part",
    "https://hooks.example/a b",
    "https://hooks.example/\n",
    "https://hooks.example\\@evil.example/",
    "https://hooks.example:0/",
    "https://hooks.example:65536/",
    "https://hooks.example:port/",
    "https://%31%32%37.0.0.1/",
    "http://hooks.example/",
    "https://169.254.169.254/latest/meta-data",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://a.localhost/",
    "https://10.0.0.1/",
    "https://100.64.0.1/",
    "https://0.0.0.0/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::10.0.0.1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::1]/",
    "https://[2002:7f00:1::]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1%25eth0]/",
    "https://hooks.example/" + "x" * 2083,
]


@pytest.mark.parametrize("url", REFUSED)
def test_what_may_not_be_called_is_refused_at_the_door(url: str) -> None:
    """The error names the field and never repeats the URL, which may hold a secret."""
    with pytest.raises(errors.InvalidParameter) as caught:
        urls.check(url, (), param="webhook_url")
    assert caught.value.param == "webhook_url"
    assert caught.value.message.startswith("webhook_url: ")


@pytest.mark.parametrize("given", [None, 7, True, ["https://hooks.example/"], {}])
def test_what_is_no_text_is_refused(given: object) -> None:
    """A URL is a text."""
    with pytest.raises(errors.InvalidParameter, match="give a URL"):
        urls.check(given, (), param="url")


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example/torii?token=abc&x=%20",
        "HTTPS://Hooks.Example:8443/",
        "https://8.8.8.8/x",
        "https://[2606:4700::1111]/x",
        "https://höks.example/ü",
    ],
)
def test_public_ones_are_taken_as_they_are(url: str) -> None:
    """A URL is kept letter by letter."""
    assert urls.check(url, (), param="webhook_url") == url


def test_plain_http_is_for_listed_networks() -> None:
    """Without a listed network it is refused; with one an address has to be in it, and a name is judged at each try."""
    assert urls.check("http://127.0.0.1:9/x", LOOPBACK, param="u")
    assert urls.check("http://localhost:9/x", LOOPBACK, param="u")
    assert urls.check("http://hooks.internal/x", PRIVATE, param="u")
    for url in ("http://8.8.8.8/x", "http://127.0.0.1/x"):
        with pytest.raises(errors.InvalidParameter):
            urls.check(url, PRIVATE, param="u")


@given(st.text(max_size=60))
def test_any_text_is_taken_or_refused(text: str) -> None:
    """No text makes anything but a URL or a refusal."""
    for url in (text, f"https://{text}", f"https://hooks.example/{text}"):
        kept = url
        with contextlib.suppress(errors.InvalidParameter):
            kept = urls.check(url, LOOPBACK, param="u")
        assert kept == url


@pytest.mark.parametrize("url", REFUSED)
def test_a_picture_is_held_to_the_same_rules(url: str) -> None:
    """What may not be called for a webhook is not fetched for a picture either, and no word is said of webhooks."""
    with pytest.raises(errors.InvalidParameter) as caught:
        urls.check(url, (), param="images[0]", use=urls.Use.PICTURES)
    assert caught.value.param == "images[0]"
    assert "webhooks may" not in caught.value.message
    assert "signature" not in caught.value.message
