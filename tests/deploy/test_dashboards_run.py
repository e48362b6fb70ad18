"""Each panel is asked of a real Prometheus that watched a real run; the spending it shows is the ledger's."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.deploy import grafana
from tests.support import ports, tree, wait
from tests.support.emulator import EmulatorProcess
from tests.support.prometheus import Prometheus
from tests.support.valkey import Valkey
from tests.support.watched import Watched

#: The run is made in a fixture, and a busy machine takes its time to start processes.
pytestmark = pytest.mark.timeout(240)
#: What has nothing to say in a run in which that has not happened, or that is shorter than a day.
ONLY_IN_TROUBLE = {
    ("torii-upstream", "Days the credits last"),
}
#: As Grafana would fill them in for a run of some seconds.
FILLED = {"__range": "1h", "__interval": "1m", "__rate_interval": "10m", "team": ".*", "model": ".*"}


class _Hook(BaseHTTPRequestHandler):
    """Refuses the first webhook for good and takes all later ones."""

    def do_POST(self) -> None:
        """Answer 410 once, then 204."""
        self.rfile.read(int(self.headers.get("content-length", "0")))
        first = not getattr(self.server, "asked", False)
        self.server.asked = True  # type: ignore[attr-defined]
        self.send_response(410 if first else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def listening() -> Iterator[str]:
    """Give the address of a receiver that refuses once."""
    with ThreadingHTTPServer((ports.LOOPBACK, 0), _Hook) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://{ports.LOOPBACK}:{server.server_address[1]}/hook"
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Run:
    """A gateway after the run, still running, and the moment between the run's two halves."""

    watched: Watched
    emulator: EmulatorProcess
    halfway: datetime
    #: What had been spent by then, by the ledger.
    spent_by_then: float
    #: Everything was read, and nothing has moved since.
    end: datetime

    def query(self, question: grafana.Question, over: str = "1h") -> list[dict[str, Any]]:
        """Ask as Grafana would at the run's end."""
        return self.watched.prometheus.query(question.filled({**FILLED, "__range": over}), self.end)


def spent(watched: Watched) -> dict[str, float]:
    """Return the credits by team, as the usage report has them."""
    return {line["teamId"]: line["spent"] for line in watched.operate("GET", "usage?by=team")["usage"]}


def again(watched: Watched, key: str, seed: int) -> None:
    """Order what was made before: it is there at once, and costs nothing."""
    body = {"prompt": "a torii gate", "seed": seed}
    answer = watched.ask("POST", "/api/v1/models/flux-2-max/run", key, body)
    assert (answer.status_code, answer.json()["creditCost"]) == (200, 0), answer.text


def first_half(watched: Watched, emulator: EmulatorProcess, hook: str) -> tuple[str, str]:
    """Teams order; something goes wrong in each of the ways that the panels tell apart. Two keys."""
    _, drawing = watched.team("drawing", budgets=[{"window": "month", "limit": 100}])
    _, website = watched.team("website", budgets=[{"window": "day", "limit": 50}], concurrency=1)
    _, hasty = watched.team("hasty", rpm=1)
    first = watched.order(hasty)
    assert watched.ask("POST", "/api/v1/models/flux-2-max/run", hasty, {"prompt": "one more"}).status_code == 429
    watched.ended(hasty, first)
    emulator.switch(submit_fault={"kind": "status", "status": 429, "retry_after_s": 0, "times": 1})
    good = [watched.order(drawing, seed=number, webhook_url=hook) for number in range(3)]
    emulator.switch(outcome={"kind": "failed", "times": 1})
    done = watched.ended(drawing, *good)
    emulator.switch(submit_fault={"kind": "status", "status": 422, "times": 1})
    watched.ended(website, watched.order(website))
    picture = next(job["output"]["images"][0] for job in done if job["status"] == "completed")
    made = next(number for number, job in enumerate(done) if job["status"] == "completed")
    watched.ask("GET", picture.removeprefix(watched.url), drawing)
    watched.ask("GET", "/api/v1/jobs/job_nobody", website)
    again(watched, drawing, made)
    watched.look()
    # Once more, since one request alone is no rate.
    watched.ask("GET", picture.removeprefix(watched.url), drawing)
    again(watched, drawing, made)
    return drawing, website


def second_half(watched: Watched, emulator: EmulatorProcess, hook: str, keys: tuple[str, str]) -> datetime:
    """Both processes are killed while a job runs upstream; more is ordered after they came back; one line forms."""
    drawing, website = keys
    emulator.switch(duration_s={"min": 200, "max": 200})
    running = watched.order(drawing, seed=9, webhook_url=hook)
    sharing = watched.order(drawing, seed=9)
    wait.until_sync(
        lambda: watched.ask("GET", f"/api/v1/jobs/{running}", drawing).json()["state"] == "running",
        timeout_s=20,
        what="the job upstream, and known to be",
    )
    watched.kill()
    emulator.switch(duration_s={"min": 40, "max": 45})
    watched.start()
    watched.ended(drawing, running, sharing)
    emulator.switch(duration_s=3600, time_scale=1)
    long = [watched.order(website) for _ in range(2)]
    wait.until_sync(
        lambda: sum(line["held"] for line in watched.operate("GET", "usage?by=team")["usage"]) == 2,
        timeout_s=10,
        what=f"the first of {long} charged, the second waiting",
    )
    return watched.look()


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory,
    emulator_process: EmulatorProcess,
    valkey: Valkey,
    prometheus: Prometheus,
) -> Iterator[Run]:
    """Give a gateway that Prometheus watched through failures and a crash."""
    emulator_process.reset()
    valkey.flush()
    folder = tmp_path_factory.mktemp("watched")
    allowed = {"TORII_WEBHOOK_ALLOW_NETS": "127.0.0.0/8"}
    with listening() as hook, Watched(folder, emulator_process, valkey.url, prometheus, **allowed) as watched:
        keys = first_half(watched, emulator_process, hook)
        halfway = watched.look()
        spent_by_then = sum(spent(watched).values())
        end = second_half(watched, emulator_process, hook, keys)
        yield Run(watched, emulator_process, halfway, spent_by_then, end)


def shown(run: Run, board: str, title: str, over: str) -> dict[str, float]:
    """Return what a panel shows over a period, by its team or as a whole."""
    question = next(each for each in grafana.questions() if (each.board, each.panel) == (board, title))
    return {each["metric"].get("team", ""): float(each["value"][1]) for each in run.query(question, over)}


def test_every_panel_answers(run: Run) -> None:
    """After a run with failures each panel has data, save the few named that speak only in trouble; no rule fails."""
    faults = []
    for question in grafana.questions():
        try:
            samples = run.query(question)
        except AssertionError as refused:
            faults.append(f"{question.name}: {refused}")
            continue
        numbers = [float(sample["value"][1]) for sample in samples]
        silent = not any(math.isfinite(number) for number in numbers)
        if silent is not ((question.board, question.panel) in ONLY_IN_TROUBLE):
            faults.append(f"{question.name}: {'no data' if silent else 'data after all'} from {question.expression}")
    rules = run.watched.prometheus.rules()
    faults += [f"{rule['name']}: {rule['lastError']}" for rule in rules if rule["health"] != "ok"]
    assert rules
    assert not faults, tree.listed(faults)


@pytest.mark.parametrize("bad", ["sum(", "no such query", "rate(up)"])
def test_a_question_that_is_no_promql_is_found(prometheus: Prometheus, bad: str) -> None:
    """What Prometheus refuses to answer fails the test that asks it."""
    with pytest.raises(AssertionError, match="parse error"):
        prometheus.query(bad)


def test_the_spending_shown_is_the_ledgers(run: Run) -> None:
    """The spend panels, the usage report and the upstream's own books agree, also after a kill -9 of both processes."""
    by_team = spent(run.watched)
    total = sum(by_team.values())
    totals = run.emulator.books(jobs=False)["totals"]
    assert total == totals["debited"] - totals["refunded"] > run.spent_by_then > 0
    assert all(by_team.values())
    assert shown(run, "torii-teams", "Credits spent in this period", "1h") == by_team
    assert shown(run, "torii-overview", "Credits spent today", "1h") == {"": total}
    second_half_ms = round((run.end - run.halfway).total_seconds() * 1000)
    latter = shown(run, "torii-overview", "Credits spent today", f"{second_half_ms}ms")
    assert latter == {"": total - run.spent_by_then}


def test_the_savings_shown_are_the_books(run: Run) -> None:
    """The panels of what was saved and the usage report agree: two hits, and one generation that was shared."""
    saved = {line["teamId"]: line["saved"] for line in run.watched.operate("GET", "usage?by=team")["usage"]}
    assert sorted(saved.values()) == [0, 0, 6]
    assert shown(run, "torii-teams", "Credits saved in this period", "1h") == saved
    assert shown(run, "torii-overview", "Credits saved today", "1h") == {"": 6}
