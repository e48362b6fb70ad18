"""Each rule about documents finds a small bad example, so that `test_documents.py` can fail."""

from pathlib import Path

from tests.support import documents

TABLE = """
| variable | default |
|---|---|
| `TORII_HOST`, `TORII_PORT` | `127.0.0.1`, `8700` |
| `TORII_LOG` | false |

```
| `NOT_A_ROW` | 1 |
```
"""
RECORD = "# 1. Pay once\n\n## Context\n\n## Decision\n\n## Consequences\n\n## Alternatives\n"


def test_rows_are_read_by_their_code_words() -> None:
    """Heads, rules and fenced text are no rows; a row may name two things."""
    assert sorted(documents.named_rows(TABLE)) == ["TORII_HOST", "TORII_LOG", "TORII_PORT"]
    assert documents.named_rows(TABLE, head="variable") == documents.named_rows(TABLE)
    assert documents.named_rows(TABLE, head="code") == {}


def test_missing_and_foreign_names_are_found() -> None:
    """A name only in the code and a name only in the document are both found."""
    found = documents.unlike(["a", "b"], ["b", "c"], "code")
    assert found == ["c: code is not documented", "a: documented, and no code"]


def test_wrong_cells_are_found() -> None:
    """A cell that does not show the code's word as a word of its own is found."""
    real = {"TORII_PORT": ["8700"], "TORII_HOST": ["127.0.0.2"], "TORII_LOG": ["fals"], "TORII_NEW": ["x"]}
    found = documents.unlike_cells(TABLE, 1, real, "default")
    assert [finding.split(":")[0] for finding in found] == ["TORII_HOST", "TORII_LOG"]


def test_make_targets_are_found_where_they_are_told() -> None:
    """Targets are read from code spans and fenced blocks, not from prose, and not from their variables."""
    text = "We make do. Run `make check test`.\n\n```\nmake run PYTHON=python3  # make tea\n```\n"
    assert documents.make_targets_named(text) == {"check", "test", "run"}
    assert documents.make_targets("run: x\nVAR := y\n.PHONY: z\ncheck:\n") == {"run", "check"}


def test_gaps_and_missing_parts_of_decisions_are_found() -> None:
    """A gap in the numbers, a foreign name and a missing part are each found."""
    assert documents.adr_faults({"0001-pay-once.md": RECORD, "0002-row-first.md": RECORD}) == []
    assert documents.adr_faults({"0001-pay-once.md": RECORD, "0003-row-first.md": RECORD}) == [
        "0003-row-first.md: number 0002 is missing or given twice"
    ]
    assert documents.adr_faults({"notes.md": RECORD}) == ["notes.md: not named NNNN-title.md"]
    assert documents.adr_faults({"0001-pay-once.md": RECORD.replace("Decision", "Choice")}) == [
        "0001-pay-once.md: has no heading Decision"
    ]


def test_broken_links_are_found(tmp_path: Path) -> None:
    """A link to no file and a link to no heading are found; links elsewhere are not followed."""
    (tmp_path / "there.md").write_text("# What's `there`, now\n")
    text = (
        "[a](there.md) [b](there.md#whats-there-now) [c](https://example.invalid/x) `[d](code.md)`\n"
        "[e](gone.md) [f](there.md#elsewhere) [g](#own)\n\n## Own\n"
    )
    page = tmp_path / "page.md"
    page.write_text(text)
    assert documents.broken_links(page, text) == [
        "gone.md: there is no such file",
        "there.md#elsewhere: there is no such heading",
    ]


def test_rooms_are_read_from_code_spans() -> None:
    """A room is named as code by its path; patterns and prose name none."""
    text = "`gateway/ledger/` and `gateway/money.py`, not gateway/prose/, `gateway/*.py`, `gateway` or `other/x`"
    assert documents.rooms_named(text, ["gateway"]) == {"gateway/ledger", "gateway/money.py"}
