"""The JSON beside a picture."""

import dataclasses
import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.archive import sidecar

VALUE = sidecar.Sidecar(
    image_id="img_1",
    job_id="job_1",
    team_id="team_1",
    position=0,
    model="flux-2-max",
    parameters={"prompt": "a gate, 鳥居", "resolution": "1 MP", "num_outputs": 1},
    seed=7,
    credits_micros=250_000,
    upstream_job_id="up-1",
    content_type="image/png",
    width=1024,
    height=768,
    size_bytes=12,
    sha256="0" * 64,
    created_at=datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC),
)


def test_members() -> None:
    """The sidecar says of a picture what the contract lists, credits as a plain decimal."""
    text = sidecar.render(VALUE).decode()
    assert json.loads(text) == {
        "version": 1,
        "imageId": "img_1",
        "jobId": "job_1",
        "teamId": "team_1",
        "position": 0,
        "model": "flux-2-max",
        "parameters": {"prompt": "a gate, 鳥居", "resolution": "1 MP", "num_outputs": 1},
        "seed": 7,
        "credits": 0.25,
        "upstreamJobId": "up-1",
        "contentType": "image/png",
        "width": 1024,
        "height": 768,
        "bytes": 12,
        "sha256": "0" * 64,
        "createdAt": "2026-01-02T03:04:05.678Z",
    }
    assert '"credits": 0.25,' in text
    assert "鳥居" in text


@given(st.permutations(list(VALUE.parameters)), st.integers(0, 10**15))
def test_same_value_same_bytes(order: list[str], micros: int) -> None:
    """Archiving again writes the very same bytes, in whatever order the parameters come; amounts have no exponent."""
    value = dataclasses.replace(VALUE, credits_micros=micros)
    shuffled = dataclasses.replace(value, parameters={name: value.parameters[name] for name in order})
    assert sidecar.render(shuffled) == sidecar.render(value)
    line = next(line for line in sidecar.render(value).decode().splitlines() if '"credits"' in line)
    assert "e" not in line.partition(":")[2].lower()
