"""``python -m bench`` as a command: what it knows, what it writes, and what becomes of a mistake."""

import subprocess
import sys

from bench import __main__ as command
from bench import machine, plan
from tests.support import ports, tree
from tests.support.process import StartProcess


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=tree.ROOT, capture_output=True, text=True, check=False, timeout=60
    )


def test_help_names_every_measurement() -> None:
    """The help names each measurement and measures nothing."""
    done = bench("--help")
    assert done.returncode == 0
    assert [name for name in command.MEASUREMENTS if name not in done.stdout] == []


def test_no_name_at_all_is_the_usual() -> None:
    """The command may be given without a name, and with options alone."""
    for words in ([], ["--quick"], ["--json", "figures.json"]):
        assert command.asked(words).names == []


def test_an_unknown_measurement_is_a_mistake() -> None:
    """A name that is none ends it with status 2 and the names that are."""
    done = bench("acept")
    assert done.returncode == 2
    assert "accept" in done.stderr


def test_the_document_about_performance_names_every_measurement() -> None:
    """docs/performance.md has a heading for each measurement."""
    text = (tree.ROOT / "docs" / "performance.md").read_text()
    assert [name for name in command.MEASUREMENTS if f"\n## {name}: " not in text] == []


def test_the_machine_is_told_without_its_paths() -> None:
    """The facts beside the figures name processor, memory and versions, and no path."""
    facts = machine.facts()
    assert facts["machine"]["cores"] >= 1
    assert facts["versions"]["torii"]
    assert "/" not in "".join(str(value) for value in facts["versions"].values())


def test_the_quick_plan_is_quicker() -> None:
    """The quick plan is shorter than the published one in everything that takes time."""
    quick, published = plan.QUICK, plan.PUBLISHED
    assert quick.saturated_s < published.saturated_s
    assert quick.paced_s < published.paced_s
    assert quick.lag_jobs * quick.lag_scale < published.lag_jobs * published.lag_scale


def test_the_floor_answers_on_the_real_server(start_process: StartProcess, redis_url: str) -> None:
    """The floor serves both of its pages, on loopback alone."""
    port = ports.free_one()
    words = [sys.executable, "-m", "bench.floor", str(port), redis_url]
    floor = start_process(words, {"PYTHONPATH": str(tree.ROOT)}, name="floor")
    for page in ("constant", "redis"):
        floor.wait_ready(f"http://{ports.LOOPBACK}:{port}/{page}")
