"""What the settings say about uploads: whether the upstream can fetch them, and how many there may be."""

import pytest

from gateway.settings.values import Purpose
from tests.unit.test_settings_values import SERVE, mistake, read


@pytest.mark.parametrize(
    ("public_url", "api_base", "reaches"),
    [
        (None, None, False),
        (None, "http://127.0.0.1:8799/api/v1", True),
        ("http://localhost:8700", "https://pixeldojo.ai/api/v1", False),
        ("http://gate.localhost", "https://pixeldojo.ai/api/v1", False),
        ("http://[::1]:8700", "https://pixeldojo.ai/api/v1", False),
        ("https://torii.example", None, True),
        ("https://torii.example", "http://127.0.0.1:8799/api/v1", True),
    ],
)
def test_whether_the_upstream_reaches_our_links(public_url: str | None, api_base: str | None, reaches: bool) -> None:
    """An upstream elsewhere reaches nothing at this machine's own address; one on this machine does."""
    given = {"TORII_PUBLIC_URL": public_url, "PIXELDOJO_API_BASE": api_base}
    settings = read(Purpose.SERVE, **SERVE, **{name: text for name, text in given.items() if text is not None})
    assert settings.links_reach_upstream is reaches


@pytest.mark.parametrize(("name", "text"), [("TORII_UPLOAD_TTL_S", "59"), ("TORII_UPLOAD_TEAM_MIB", "0")])
def test_room_for_uploads_is_bounded(name: str, text: str) -> None:
    """Uploads live for a minute at least, and a team has room for some."""
    assert mistake(Purpose.SERVE, **SERVE, **{name: text}).param == name
