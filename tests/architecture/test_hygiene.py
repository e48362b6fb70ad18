"""What is committed is clean: no registry's host, no path of a machine, no unpinned requirement, no patching tests."""

import pytest

from tests.support import house, texts, tree


def test_no_file_names_a_registry_or_a_machine() -> None:
    """No committable file names a package registry's host or an absolute path of the machine it was written on."""
    paths = tree.committable()
    if not paths:
        pytest.skip("not a git checkout")
    found = []
    for path in paths:
        try:
            findings = texts.told(path.read_text())
        except UnicodeDecodeError:
            continue  # a picture
        found += [f"{path.relative_to(tree.ROOT)}: {finding}" for finding in findings]
    assert not found, tree.listed(found)


def test_no_lock_file_with_addresses() -> None:
    """A uv.lock, which holds a registry's addresses, is never committed."""
    assert [path for path in tree.committable() if path.name == "uv.lock"] == []


@pytest.mark.parametrize("name", ["run.txt", "dev.txt"])
def test_requirements_are_pinned_by_hash(name: str) -> None:
    """Every requirement is pinned to one version and its hashes."""
    text = (tree.ROOT / "requirements" / name).read_text()
    assert "--hash=" in text
    assert texts.unhashed(text) == []


def test_tests_patch_nothing() -> None:
    """Tests replace no part of ours from outside: parts are passed in."""
    assert not (found := tree.findings(lambda _, source: house.patches(source), "tests")), tree.listed(found)


def test_tests_state_their_rules() -> None:
    """Each test's docstring is one sentence that states the rule it holds."""
    assert not (found := tree.findings(lambda _, source: house.tests_without_rule(source), "tests")), tree.listed(found)


@pytest.mark.parametrize("word", [*texts.HOSTS, *(folder + "x" for folder in texts.FOLDERS)])
def test_each_forbidden_text_is_found(word: str) -> None:
    """Each registry's host and each folder of a machine is found."""
    assert len(texts.told(f"fine\nsee {word} for it\n")) == 1


@pytest.mark.parametrize("text", ["./work/x", "the/root/of", "https://pixeldojo.ai/api/v1", "network/works"])
def test_other_texts_are_allowed(text: str) -> None:
    """Relative paths and other hosts are no findings."""
    assert texts.told(text) == []


@pytest.mark.parametrize("line", ["redis>=5\n", "redis==5.3.1\n", "redis>=5 \\\n    --hash=sha256:00\n"])
def test_unpinned_requirements_are_found(line: str) -> None:
    """A requirement without an exact version or without a hash is found."""
    assert texts.unhashed(f"# comment\narq==0.28.0 \\\n    --hash=sha256:11\n{line}") == [line.split()[0]]


@pytest.mark.parametrize(
    "source",
    [
        "def test_a(monkeypatch):\n    monkeypatch.setattr('a', 1)\n",
        "from unittest.mock import call\n",
        "import unittest\nunittest.mock.patch('a')\n",
        "part = MagicMock()\n",
    ],
)
def test_patching_is_found(source: str) -> None:
    """Each way to patch is found."""
    assert house.patches(source) != []


@pytest.mark.parametrize("docstring", ["", '"""Two lines.\n\n    Of it.\n    """', '"""no sentence"""'])
def test_tests_without_rule_are_found(docstring: str) -> None:
    """A test without a docstring, or with more or less than one sentence, is found."""
    assert len(house.tests_without_rule(f"async def test_a():\n    {docstring}\n    pass\n")) == 1
