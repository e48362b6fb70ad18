"""The settings of whoever stands between callers and pictures: proxies, other origins, the object store."""

from types import MappingProxyType

import pytest

from gateway import errors
from gateway.settings import values
from gateway.settings.values import Purpose

SERVE = MappingProxyType(
    {
        "TORII_ADMIN_TOKEN": "a" * 32,
        "TORII_SECRET_KEY": "s" * 32,
        "TORII_REDIS_URL": "redis://127.0.0.1:6379/0",
    }
)


def read(purpose: Purpose = Purpose.UP, /, **environ: str) -> values.Settings:
    """The settings of just these variables."""
    return values.read(purpose, environ, env_file=None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TORII_TRUSTED_PROXIES", "nginx"),
        ("TORII_TRUSTED_PROXIES", "*"),
        ("TORII_TRUSTED_PROXIES", "10.0.0.1,"),
        ("TORII_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TORII_TRUSTED_PROXIES", "10.0.0.0/8,0.0.0.0/0"),
        ("TORII_TRUSTED_PROXIES", "::/0"),
        ("TORII_CORS_ORIGINS", "app.example.com"),
        ("TORII_CORS_ORIGINS", "https://app.example.com/"),
        ("TORII_CORS_ORIGINS", "https://app.example.com/path"),
        ("TORII_CORS_ORIGINS", "https://*.example.com"),
        ("TORII_CORS_ORIGINS", "https://user@app.example.com"),
        ("TORII_CORS_ORIGINS", "https://app.example.com:99999"),
        ("TORII_CORS_ORIGINS", "https://app.example.com,"),
        ("TORII_CORS_ORIGINS", "*,https://app.example.com"),
        ("TORII_CORS_ORIGINS", "null"),
        ("TORII_IMAGE_DELIVERY", "direct"),
        ("TORII_IMAGE_DELIVERY", "redirect"),
    ],
)
def test_bad_values_are_named(name: str, text: str) -> None:
    """A value that cannot be meant stops the start with one line that begins with its variable's name."""
    with pytest.raises(errors.SettingError) as caught:
        read(**{name: text})
    assert caught.value.message.startswith(f"{name} must ")
    assert "\n" not in caught.value.message


def test_origins_are_spelled_as_browsers_do() -> None:
    """An origin is in lower case and without its scheme's own port; browsers' extensions have origins too."""
    given = "HTTPS://App.Example.com:443, http://localhost:5173,http://[::1]:80,chrome-extension://abc"
    spelled = ("https://app.example.com", "http://localhost:5173", "http://[::1]", "chrome-extension://abc")
    assert read(TORII_CORS_ORIGINS=given).cors_origins == spelled
    assert read(TORII_CORS_ORIGINS="*").cors_origins == ("*",)
    assert read().cors_origins == ()


def test_proxies_are_addresses_and_networks() -> None:
    """A single address is a network of one."""
    assert [str(net) for net in read(TORII_TRUSTED_PROXIES="10.0.0.7, fd00::/8").trusted_proxies] == [
        "10.0.0.7/32",
        "fd00::/8",
    ]
    assert read().trusted_proxies == ()


def test_only_a_bucket_is_redirected_to() -> None:
    """Redirects need an archive in S3, for the commands that hand out pictures; the others do not care."""
    read(TORII_IMAGE_DELIVERY="redirect", TORII_ARCHIVE_URL="s3://bucket")
    read(Purpose.MIGRATE, TORII_IMAGE_DELIVERY="redirect")
    with pytest.raises(errors.SettingError, match=r"TORII_IMAGE_DELIVERY .* TORII_ARCHIVE_URL"):
        read(Purpose.SERVE, **SERVE, TORII_IMAGE_DELIVERY="redirect", TORII_ARCHIVE_URL="/srv/pictures")
