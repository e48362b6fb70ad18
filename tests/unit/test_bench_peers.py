"""The peers beside Torii: each pinned, each in a folder of its own, and a reason where one is not to be had."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import peer_install, peer_upstream
from bench.peer_install import Peer
from tests.support import ports, tree
from tests.support.process import StartProcess


def peer(*steps: tuple[str, ...]) -> Peer:
    """Return a peer that is installed by these commands."""
    return dataclasses.replace(peer_install.PEERS[0], name="Nobody", version="1", steps=steps)


def test_each_peer_is_pinned_and_apart() -> None:
    """What is installed names its version, and goes into the peer's own folder alone."""
    for each in peer_install.PEERS:
        words = [word for step in each.steps for word in step]
        assert any(word.endswith(each.version) for word in words)
        assert any("{folder}" in word for word in words)


def test_a_peer_is_installed_once(tmp_path: Path) -> None:
    """The second time the folder is there; a command that failed leaves one that is begun anew."""
    words = "import pathlib, sys; open(pathlib.Path(sys.argv[1]) / 'made', 'x')"
    made = peer((sys.executable, "-c", words, "{folder}"))
    folder = peer_install.installed(made, tmp_path)
    assert (folder / "made").exists()
    assert peer_install.installed(made, tmp_path) == folder


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ((sys.executable, "-c", "import sys; sys.exit('no such package')"), "ended with 1: no such package"),
        (("no-such-installer",), "no-such-installer: FileNotFoundError"),
    ],
)
def test_what_cannot_be_installed_is_said(step: tuple[str, ...], why: str, tmp_path: Path) -> None:
    """An installer that fails or is missing is an error with its reason, and the folder does not count as installed."""
    with pytest.raises(peer_install.NotToBeHad, match=why):
        peer_install.installed(peer(step), tmp_path)
    with pytest.raises(peer_install.NotToBeHad, match=why):
        peer_install.installed(peer(step), tmp_path)


def test_the_api_behind_them_counts_its_orders(start_process: StartProcess) -> None:
    """It answers OpenAI's image route at once, and tells how many orders came to it."""
    port = ports.free_one()
    words = [sys.executable, "-m", "bench.peer_upstream", str(port)]
    start_process(words, {"PYTHONPATH": str(tree.ROOT)}, name="upstream").wait_ready(port)
    at = f"http://{ports.LOOPBACK}:{port}"
    ask = ["curl", "--silent", "--fail", "--max-time", "10"]
    order = [*ask, "--data", "{}", at + peer_upstream.IMAGES]
    answers = [subprocess.run(order, capture_output=True, check=True, timeout=20).stdout for _ in range(2)]
    assert json.loads(answers[0])["data"][0]["url"]
    assert subprocess.run([*ask, at + peer_upstream.COUNT], capture_output=True, check=True, timeout=20).stdout == b"2"
