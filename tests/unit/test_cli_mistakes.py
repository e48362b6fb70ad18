"""What a user sees of a mistake: one line, or JSON, and the exit status."""

import json

import pytest
import typer

from cli import mistakes
from gateway import errors


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (errors.SettingError("TORII_PORT is wrong", param="TORII_PORT"), 2, "torii: TORII_PORT is wrong"),
        (errors.TeamNotFound("there is no team 'x'", param="team"), 1, "torii: there is no team 'x'"),
        (errors.Conflict("two\nlines"), 1, "torii: two lines"),
        (PermissionError(13, "Permission denied", "var"), 1, "torii: var: Permission denied"),
        (typer.BadParameter("must be more"), 2, "torii: Invalid value: must be more"),
    ],
)
def test_one_line(error: Exception, status: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each mistake is one line on stderr, and nothing on stdout."""
    assert isinstance(error, errors.ToriiError | typer.TyperException | OSError)
    assert mistakes.report(error, as_json=False) == status
    assert capsys.readouterr() == ("", line + "\n")


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the same is one JSON object, with the code that the HTTP answers carry too."""
    mistakes.report(errors.TeamNotFound("there is no team 'x'", param="team"), as_json=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err) == {"error": {"code": "team_not_found", "message": "there is no team 'x'", "param": "team"}}


def test_an_error_of_no_file_is_a_bug() -> None:
    """An OSError that names no file is nobody's typo and keeps its traceback."""
    with pytest.raises(ConnectionResetError):
        mistakes.report(ConnectionResetError(104, "reset"), as_json=False)
