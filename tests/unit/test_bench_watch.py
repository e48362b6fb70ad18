"""Processes watched over time, what their memory did, and what became of jobs in flight."""

import os
import subprocess
import sys
import time

import pytest

from bench import flight, machine, memory, watch
from bench.flight import Landing
from bench.watch import Look, Watch
from tests.support import wait


def looks(*mib: float) -> list[Look]:
    """Return one look a minute at a process that uses half a core."""
    return [Look(60.0 * number, {"serve": each}, {"serve": 30.0 * number}) for number, each in enumerate(mib)]


def test_a_slope_is_told_by_the_hour() -> None:
    """Memory that grows by one MiB a minute grows by sixty an hour, and what stays does not grow."""
    assert watch.slope_mib_per_h(looks(100, 101, 102, 103), "serve") == pytest.approx(60)
    assert watch.slope_mib_per_h(looks(100, 100, 100), "serve") == 0


def test_one_moment_has_no_slope() -> None:
    """A single look says nothing of growth."""
    with pytest.raises(ValueError, match="one moment"):
        watch.slope_mib_per_h(looks(100), "serve")


def test_cores_are_processor_time_over_time() -> None:
    """What a process used of a core is taken from the first look to the last."""
    assert watch.cores(looks(1, 1, 1)) == {"serve": pytest.approx(0.5)}


def test_growth_is_between_the_third_minute_and_the_tenth() -> None:
    """Growth is told between two medians, so that neither the start nor one peak counts."""
    seen = Watch({}, looks=looks(50, 90, 100, 100, 100, 100, 100, 100, 100, 104, 104))
    told = memory.grown(seen, "serve", 0.0, 600.0)
    assert (told["MiB at first"], told["MiB early"], told["MiB late"], told["MiB grown"]) == (50, 100, 104, 4)


def test_a_watch_sees_memory_and_processor_time_of_real_processes() -> None:
    """A watched process has memory and processor time, and of a family each member's time counts."""
    words = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    with subprocess.Popen([sys.executable, "-c", words]) as parent:
        try:
            wait.until_sync(lambda: len(machine.family(parent.pid)) > 1, timeout_s=20, what="a child")
            wait.until_sync(
                lambda: machine.cpu_of_family_s(parent.pid) > machine.cpu_s(parent.pid) + 0.05,
                timeout_s=20,
                what="the child's time",
            )
            with watch.watching(Watch({"one": os.getpid(), "all": parent.pid}, frozenset({"all"})), 0.01) as seen:
                wait.until_sync(lambda: len(seen.looks) > 1, timeout_s=20, what="two looks")
        finally:
            for pid in machine.family(parent.pid)[::-1]:
                os.kill(pid, 9)
    first = seen.looks[0]
    assert first.rss_mib["one"] > 1
    assert "all" not in first.rss_mib
    assert first.at_s <= time.monotonic()


def landing(begun_at: float, finished_at: float, lag_s: float = 1.0) -> Landing:
    """Return a job that was seen halfway between its end upstream and ours."""
    return Landing(begun_at, finished_at, finished_at + lag_s / 2, finished_at + lag_s, calls=3)


def test_only_what_ended_in_the_stretch_is_told() -> None:
    """Lag and calls are of the jobs that ended upstream in the stretch; all that were there count as in flight."""
    told = flight.told([landing(0, 44, 9), landing(56, 100), landing(60, 104, 3), landing(100, 200)], 100, 110)
    assert (told["pictures/s"], told["lag median s"], told["lag max s"], told["calls/picture"]) == (0.2, 1, 3, 3)
    # One for 4 of the 10 s, one for all of them.
    assert told["in flight"] == 1
