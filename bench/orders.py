"""A caller who orders pictures and waits for them, as a client of Torii would. Bounded in time; loads nothing."""

from datetime import datetime
from types import TracebackType
from typing import Any, Self

import httpx

from bench.load import LOOPBACK
from bench.stage import RUN
from tests.support import wait

_ENDED = frozenset({"completed", "failed"})


class Client:
    """One key's connection to one ``torii serve``."""

    def __init__(self, port: int, key: str) -> None:
        self._client = httpx.Client(
            base_url=f"http://{LOOPBACK}:{port}",
            headers={"Authorization": f"Bearer {key}"},
            trust_env=False,
            timeout=30.0,
        )

    def order(self, prompt: str, **parameters: object) -> str:
        """Order one picture; the job's id."""
        answer = self._client.post(RUN, json={"prompt": prompt, **parameters}).raise_for_status()
        return str(answer.json()["jobId"])

    def completed(self, job_id: str, within_s: float, every_s: float = 0.05) -> dict[str, Any]:
        """Wait for the job; ``RuntimeError`` if it failed."""

        def ended() -> dict[str, Any] | None:
            job: dict[str, Any] = self._client.get(f"/api/v1/jobs/{job_id}").raise_for_status().json()
            return job if job["status"] in _ENDED else None

        job = wait.until_sync(ended, timeout_s=within_s, what=f"the end of {job_id}", every_s=every_s)
        if job is None or job["status"] != "completed":
            raise RuntimeError(f"the job did not complete: {job}")
        return job

    def picture(self, url: str) -> bytes:
        """The picture behind a link that Torii handed out."""
        return self._client.get(url).raise_for_status().content

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()


def moment(text: str) -> float:
    """An RFC 3339 time as Unix seconds."""
    return datetime.fromisoformat(text).timestamp()
