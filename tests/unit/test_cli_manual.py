"""docs/cli.md is what the commands themselves say, and says something of each."""

from pathlib import Path

import pytest

from cli import manual, menu
from cli.failures import Status

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"


def test_the_manual_is_up_to_date() -> None:
    """The page's generated part is what `make manual` would write."""
    assert PAGE.read_text() == manual.renewed(PAGE.read_text()), "docs/cli.md is out of date: make manual"


def test_a_stale_manual_is_seen() -> None:
    """A page whose reference has changed is not the page that would be written."""
    stale = PAGE.read_text().replace("### torii generate", "### torii paint")
    assert stale != PAGE.read_text()
    assert stale != manual.renewed(stale)
    with pytest.raises(ValueError, match="has no line"):
        manual.renewed("# A page without the mark\n")


@pytest.mark.parametrize("name", menu.COMMANDS)
def test_each_command_is_in_it(name: str) -> None:
    """Each command has a heading."""
    assert f"### torii {name}\n" in PAGE.read_text()


def test_each_status_is_told() -> None:
    """The table of exit statuses has a row for each."""
    text = PAGE.read_text()
    assert [status for status in Status if f"| {status.value} |" not in text] == []
