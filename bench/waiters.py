"""``waiters``: callers that wait for their jobs at one ``torii serve``, half by ``Prefer``, half by events. No worker.

Each has a connection of its own; ten share a job. What they cost is told as memory over what the process had before, as
the processor time of a stretch in which nothing happens to any job, and as the time from a job's end to its answer.
"""

import asyncio
import json
import time
from collections.abc import Iterator

from bench import figures, machine, stage
from bench.figures import Row
from bench.plan import Plan
from tests.support import ports

NAME = "waiters"
#: Of one key, 500 may wait.
_OF_A_KEY = 400
_AT_ONCE = 32
_OF_A_JOB = 10
_BODY = json.dumps({"prompt": "a torii gate that many wait for"}).encode()
_ENDED = 100
_ANSWER_WITHIN_S = 120.0


def measure(plan: Plan) -> Iterator[Row]:
    """A row for each database."""
    for database in stage.DATABASES:
        with stage.gateway(database) as gateway:
            keys = [gateway.key()]
            while len(keys) * _OF_A_KEY < plan.waiters:
                keys.append(str(gateway.run("key", "create", "bench")["key"]))
            served, port = gateway.serve()
            yield Row(NAME, database, asyncio.run(_crowd(served.pid, port, keys, plan)))


class _Waiter:
    """One connection on which something is waited for."""

    def __init__(self, key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.key = key
        self.job_id = ""
        self._reader = reader
        self._writer = writer

    async def order(self) -> str:
        """Order; the job's id."""
        head = f"POST {stage.RUN} HTTP/1.1\r\nHost: torii\r\nAuthorization: Bearer {self.key}\r\n"
        self._writer.write(
            f"{head}Content-Type: application/json\r\nContent-Length: {len(_BODY)}\r\n\r\n".encode() + _BODY
        )
        return (await self._answer())["jobId"]

    def wait(self, job_id: str) -> None:
        """Ask for a job once it is done."""
        head = f"GET /api/v1/jobs/{job_id} HTTP/1.1\r\nHost: torii\r\nAuthorization: Bearer {self.key}"
        self._writer.write(f"{head}\r\nPrefer: wait=120\r\n\r\n".encode())

    async def listen(self, job_id: str) -> None:
        """Listen to a job; returns once its present state was heard."""
        self.job_id = job_id
        head = f"GET /api/v1/jobs/{job_id}/events HTTP/1.1\r\nHost: torii\r\nAuthorization: Bearer {self.key}"
        self._writer.write(f"{head}\r\n\r\n".encode())
        await self._reader.readuntil(b"event: state")

    async def cancel(self, job_id: str) -> None:
        """Take a job back."""
        head = f"POST /api/v1/jobs/{job_id}/cancel HTTP/1.1\r\nHost: torii\r\nAuthorization: Bearer {self.key}"
        self._writer.write(f"{head}\r\nContent-Length: 0\r\n\r\n".encode())
        await self._answer()

    async def hear_the_end(self) -> float:
        """The moment at which the result came."""
        await self._reader.readuntil(b"event: result")
        return time.perf_counter()

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def _answer(self) -> dict[str, str]:
        head = await self._reader.readuntil(b"\r\n\r\n")
        if head[9:10] != b"2":
            raise RuntimeError(head.splitlines()[0].decode())
        length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length"))
        answer: dict[str, str] = json.loads(await self._reader.readexactly(int(length.partition(b":")[2])))
        return answer


async def _crowd(pid: int, port: int, keys: list[str], plan: Plan) -> dict[str, figures.Figure]:
    async with asyncio.timeout(plan.waiters * 0.1 + _ANSWER_WITHIN_S):
        first = await _connect(port, keys[0])
        job_ids = [await first.order() for _ in range(plan.waiters // _OF_A_JOB)]
        before_mib = machine.rss_mib(pid)
        line = asyncio.Semaphore(_AT_ONCE)
        begun_s = time.perf_counter()
        crowd = await asyncio.gather(*(_seat(port, keys, job_ids, number, line) for number in range(plan.waiters)))
        took_s = time.perf_counter() - begun_s
        await asyncio.sleep(plan.warm_s)
        seated_mib, cpu_s = machine.rss_mib(pid), machine.cpu_s(pid)
        await asyncio.sleep(plan.waiting_s)
        busy = (machine.cpu_s(pid) - cpu_s) / plan.waiting_s
        first.close()
        # A connection that rested for so long may be closed by now.
        first = await _connect(port, keys[0])
        heard = {waiter.job_id: waiter for waiter in crowd if waiter.job_id}
        lags = sorted([await _lag(first, waiter) for waiter in list(heard.values())[:_ENDED]])
        for waiter in (*crowd, first):
            waiter.close()
    return {
        "callers": plan.waiters,
        "MiB before": before_mib,
        "MiB more": seated_mib - before_mib,
        "KiB a caller": (seated_mib - before_mib) * 1024 / plan.waiters,
        "cores used while nothing happens": busy,
        "end to answer p50 ms": figures.percentile(lags, 0.5) * 1000,
        "p99 ms": figures.percentile(lags, 0.99) * 1000,
        "seated/s": plan.waiters / took_s,
    }


async def _seat(port: int, keys: list[str], job_ids: list[str], number: int, line: asyncio.Semaphore) -> _Waiter:
    async with line:
        waiter = await _connect(port, keys[number % len(keys)])
        # The first half of those who share a job listen, so that each job has one who does.
        if number // len(job_ids) % 2:
            waiter.wait(job_ids[number % len(job_ids)])
        else:
            await waiter.listen(job_ids[number % len(job_ids)])
        return waiter


async def _lag(clerk: _Waiter, waiter: _Waiter) -> float:
    """Seconds from the answer that a job was taken back to its listener's result."""
    hearing = asyncio.create_task(waiter.hear_the_end())
    await clerk.cancel(waiter.job_id)
    ended_s = time.perf_counter()
    return max(await hearing - ended_s, 0.0)


async def _connect(port: int, key: str) -> _Waiter:
    return _Waiter(key, *await asyncio.open_connection(ports.LOOPBACK, port))
