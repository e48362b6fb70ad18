"""What commands print: text that cannot steer a terminal, JSON that keeps credits exact."""

from decimal import Decimal

import pytest

from cli import screen


@pytest.mark.parametrize(("value", "shown"), [(None, ""), (12, "12"), ("plain", "plain"), ("[red]x[/]", "[red]x[/]")])
def test_values(value: object, shown: str) -> None:
    """A value is shown as it is, and none as nothing."""
    assert screen.plain(value) == shown


def test_text_of_others_cannot_steer_the_terminal() -> None:
    """What a terminal would take for an order is replaced."""
    assert screen.plain("\x1b[2J\r\nall is well\u202e") == "�[2J��all is well�"


def test_credits_in_json_are_plain_numbers() -> None:
    """A fraction of a credit is neither a string nor a binary float's neighbour."""
    assert screen.encode({"credits": Decimal("0.1")}) == '{"credits":0.1}'


def test_a_table_is_not_cut_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Each row stays on one line, for `grep`."""
    screen.table([{"id": "x" * 150, "name": "y" * 150}], {"id": "ID", "name": "NAME"}, nothing="none")
    assert any("x" * 150 in line and "y" * 150 in line for line in capsys.readouterr().out.splitlines())


def test_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """No rows are said in words."""
    screen.table([], {"id": "ID"}, nothing="no teams yet")
    assert capsys.readouterr().out == "no teams yet\n"
