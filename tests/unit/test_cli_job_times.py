"""Where the time of a job went."""

from typing import Any

import pytest

from cli import job_times

PAGE: dict[str, Any] = {
    "createdAt": "2026-11-23T12:00:00.000Z",
    "submittedAt": "2026-11-23T12:00:01.500Z",
    "acceptedAt": "2026-11-23T12:00:02.000Z",
    "finishedUpstreamAt": "2026-11-23T12:00:46.000Z",
    "endedAt": "2026-11-23T12:00:46.400Z",
}
WHOLE = "46.4 s: 1.5 s in the queue, 0.5 s being sent, 44.0 s upstream, 0.4 s being kept"


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (PAGE, WHOLE),
        ({**PAGE, "finishedUpstreamAt": None}, "46.4 s: 1.5 s in the queue, 0.5 s being sent, 44.4 s upstream"),
        ({**PAGE, "finishedUpstreamAt": None, "endedAt": None}, "1.5 s in the queue, 0.5 s being sent"),
        ({"createdAt": PAGE["createdAt"], "completedAt": PAGE["endedAt"]}, "46.4 s"),
        ({"createdAt": PAGE["createdAt"]}, None),
    ],
)
def test_times(page: dict[str, Any], told: str | None) -> None:
    """Each stage that is over has its seconds, and a job that has not ended has no whole."""
    assert job_times.told(page) == told
