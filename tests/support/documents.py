"""Reads what the documents say: tables, code words, links, headings. Pure functions over Markdown text."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

CODE = re.compile(r"`([^`\n]+)`")
FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:")
MAKE = re.compile(r"\bmake ((?:[a-z][a-z-]*\b(?!=) ?)+)")
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
ADR = re.compile(r"(\d{4})-[a-z0-9-]+\.md")
ADR_HEADINGS = ("Context", "Decision", "Consequences", "Alternatives")


def rows(text: str, head: str | None = None) -> list[list[str]]:
    """Return the cells of every table row, of all tables or of those whose first column has this head."""
    found: list[list[str]] = []
    above: list[str] = []
    wanted = False
    for line in FENCED.sub("", text).splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if not line.lstrip().startswith("|"):
            wanted, above = False, []
        elif all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            wanted = head is None or above[:1] == [head]
        elif wanted:
            found.append(cells)
        above = cells
    return found


def named_rows(text: str, head: str | None = None) -> dict[str, list[str]]:
    """Return table rows by each code word of their first cell."""
    return {word: cells for cells in rows(text, head) for word in CODE.findall(cells[0])}


def code_words(text: str) -> set[str]:
    """Return every code span outside of fenced blocks."""
    return set(CODE.findall(FENCED.sub("", text)))


def broken_links(path: Path, text: str) -> list[str]:
    """Find relative links to a file that is not there, or to a heading that the file has not."""
    found = []
    for link in LINK.findall(CODE.sub("", FENCED.sub("", text))):
        if ELSEWHERE.match(link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists():
            found.append(f"{link}: there is no such file")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()):
            found.append(f"{link}: there is no such heading")
    return found


def anchors(text: str) -> set[str]:
    """Return the names by which a document's headings can be linked to, as code hosts make them."""
    headings = HEADING.findall(FENCED.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def make_targets_named(text: str) -> set[str]:
    """Return each target that a document tells its reader to make, in code spans and in fenced blocks."""
    fenced = "\n".join(match.group(0) for match in FENCED.finditer(text))
    commands = [*code_words(text), *fenced.splitlines()]
    calls = (call for command in commands for call in MAKE.findall(command.partition("#")[0]))
    return {target for call in calls for target in call.split()}


def make_targets(makefile: str) -> set[str]:
    """Return the targets of a Makefile."""
    return set(TARGET.findall(makefile))


def adr_faults(records: dict[str, str]) -> list[str]:
    """Find decision records, text by file name, that are misnumbered, misnamed or lack a part."""
    names = sorted(name for name in records if ADR.fullmatch(name))
    found = [f"{name}: not named NNNN-title.md" for name in sorted(set(records) - set(names)) if name != "README.md"]
    for number, name in enumerate(names, start=1):
        if int(name[:4]) != number:
            found.append(f"{name}: number {number:04} is missing or given twice")
            break
    for name in names:
        missing = [part for part in ADR_HEADINGS if part not in HEADING.findall(records[name])]
        found += [f"{name}: has no heading {part}" for part in missing]
    return found


def unlike(said: Iterable[str], real: Iterable[str], what: str) -> list[str]:
    """Find names that a document has and the code has not, and the other way round."""
    said, real = set(said), set(real)
    missing = [f"{name}: {what} is not documented" for name in sorted(real - said)]
    return missing + [f"{name}: documented, and no {what}" for name in sorted(said - real)]


def unlike_cells(text: str, column: int, real: Mapping[str, Iterable[str]], what: str) -> list[str]:
    """Find rows whose cell of this column lacks a word that the code has for the row's name."""
    documented = named_rows(text)
    return [
        f"{name}: its {what} {word!r} is not in its row"
        for name, words in real.items()
        for word in words
        if name in documented and word not in _words(documented[name][column])
    ]


def _words(cell: str) -> set[str]:
    """Return a cell's code spans, and where it has none its words."""
    spans = CODE.findall(cell)
    return (
        {word.strip() for span in spans for word in (span, *span.split(","))}
        if spans
        else set(re.findall(r"\w+", cell))
    )


def rooms_named(text: str, tops: Iterable[str]) -> set[str]:
    """Return the paths that a document's code spans name below these top-level folders, without a closing slash."""
    paths = (word.rstrip("/") for word in code_words(text) if re.fullmatch(r"[\w./-]+", word) and "/" in word)
    return {path for path in paths if path.split("/", 1)[0] in set(tops)}
