"""What the documents say is so: settings, error codes, metrics, targets, decisions, rooms and links."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from gateway import errors
from gateway.jobs import states
from gateway.settings import values
from gateway.settings.shapes import ResultHost
from gateway.telemetry import metrics
from tests.support import documents, tree

DOCS = tree.ROOT / "docs"
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
INSIDE = ("gateway", "service", "workers", "cli", "emulator", "bench", "tests", "deploy", "openapi", "docs")
#: Words by which a settings' row may say that there is no default.
NO_DEFAULT = ("none", "required", "generated", "folder")


def read(path: Path) -> str:
    """Read a document that has to be there."""
    assert path.is_file(), f"{path.relative_to(tree.ROOT)} is not written"
    return path.read_text()


def pages() -> list[Path]:
    """Return every document of the repository."""
    own = [path for folder in INSIDE for path in (tree.ROOT / folder).rglob("*.md")]
    return sorted([*own, *(tree.ROOT / name for name in PAGES if (tree.ROOT / name).is_file())])


def default_words(field: FieldInfo) -> list[str]:
    """Return how a settings' row must show a default: one of these words is enough when there is none."""
    default = field.default
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if isinstance(default, bool):
        return [str(default).lower()]
    if isinstance(default, tuple):
        hosts = (host if isinstance(host, ResultHost) else ResultHost(str(host), None) for host in default)
        return [host.host if host.port is None else f"{host.host}:{host.port}" for host in hosts]
    return [] if default is None or field.default_factory is not None else [str(default)]


def family(error: type[errors.ToriiError]) -> list[type[errors.ToriiError]]:
    """Return an error with all that descend from it."""
    children = (child for child in error.__subclasses__() if child.__module__ == error.__module__)
    return [error, *(member for child in children for member in family(child))]


def rooms() -> set[str]:
    """Return every room of the house as its document must name it."""
    gateway = tree.ROOT / "gateway"
    inner = {f"gateway/{path.parent.name}" for path in gateway.glob("*/__init__.py")}
    inner |= {f"gateway/{path.name}" for path in gateway.glob("[a-z]*.py")}
    return inner


def test_settings_are_documented() -> None:
    """Each variable has its row in docs/settings.md, and each row there is a variable."""
    text = read(DOCS / "settings.md")
    said = [name.removesuffix("_FILE") for name in documents.named_rows(text) if name.isupper()]
    found = documents.unlike(said, values.variables(), "setting")
    assert not found, tree.listed(found)


def test_defaults_are_documented() -> None:
    """The second column of docs/settings.md shows each default, or says that there is none."""
    text = read(DOCS / "settings.md")
    defaults = {str(field.validation_alias): default_words(field) for field in values.Settings.model_fields.values()}
    found = documents.unlike_cells(text, 1, defaults, "default")
    for name, cells in documents.named_rows(text).items():
        if not defaults.get(name, ["foreign"]) and not any(word in cells[1].lower() for word in (*NO_DEFAULT, "http")):
            found.append(f"{name}: its row does not say that it has no default")
    assert not found, tree.listed(found)


def test_error_codes_are_documented() -> None:
    """Each code of an answer or a job has its row in a table headed `code` in docs/errors.md, and no other has one."""
    text = read(DOCS / "errors.md")
    real = {error.code for error in family(errors.ToriiError)} | {failure.value for failure in states.Failure}
    found = documents.unlike(documents.named_rows(text, head="code"), real, "error code")
    assert not found, tree.listed(found)


def test_metrics_are_documented() -> None:
    """Each metric has its row with its labels in docs/metrics.md, and each row there is a metric."""
    text = read(DOCS / "metrics.md")
    said = [name for name in documents.named_rows(text) if name.startswith("torii_")]
    found = documents.unlike(said, (spec.name for spec in metrics.SPECS), "metric")
    labels = {spec.name: spec.labels for spec in metrics.SPECS}
    found += documents.unlike_cells(text, 1, labels, "label")
    assert not found, tree.listed(found)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_exist(page: str) -> None:
    """Each `make` target that a document tells its reader to use exists."""
    named = documents.make_targets_named(read(tree.ROOT / page))
    assert named, f"{page} names no target"
    assert named - documents.make_targets(read(tree.ROOT / "Makefile")) == set()


def test_decisions_are_in_order() -> None:
    """Decision records are numbered without gaps, and each has its four parts."""
    records = {path.name: path.read_text() for path in (DOCS / "adr").glob("*.md")}
    assert records, "docs/adr holds no decision record"
    found = documents.adr_faults(records)
    assert not found, tree.listed(found)


def test_every_room_is_in_the_architecture() -> None:
    """docs/architecture.md names every room of the house, as `gateway/ledger/` or `gateway/money.py`."""
    missing = rooms() - documents.rooms_named(read(DOCS / "architecture.md"), INSIDE)
    assert not missing, tree.listed(sorted(missing))


def test_paths_in_documents_exist() -> None:
    """Each path into the house that a document names is there."""
    found = [
        f"{page.relative_to(tree.ROOT)}: {path}"
        for page in pages()
        for path in sorted(documents.rooms_named(page.read_text(), INSIDE))
        if not (tree.ROOT / path).exists()
    ]
    assert not found, tree.listed(found)


def test_relative_links_resolve() -> None:
    """Each relative link in a document leads to a file, and to a heading where it names one."""
    found = [
        f"{page.relative_to(tree.ROOT)}: {link}"
        for page in pages()
        for link in documents.broken_links(page, page.read_text())
    ]
    assert not found, tree.listed(found)
