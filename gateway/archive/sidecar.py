"""The JSON beside each picture: what it is and how it came to be; readable without Torii. Never holds a URL."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from gateway import clock, money

CONTENT_TYPE = "application/json"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """What is known of one archived picture; ``parameters`` are those sent upstream, the prompt among them."""

    image_id: str
    job_id: str
    team_id: str
    position: int
    model: str
    parameters: Mapping[str, object]
    seed: int | None
    credits_micros: int
    upstream_job_id: str
    content_type: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    created_at: datetime


def render(sidecar: Sidecar) -> bytes:
    """UTF-8 JSON with sorted members; the same value is the same bytes. ``credits`` are what the whole job cost."""
    members = {
        "version": _VERSION,
        "imageId": sidecar.image_id,
        "jobId": sidecar.job_id,
        "teamId": sidecar.team_id,
        "position": sidecar.position,
        "model": sidecar.model,
        "parameters": dict(sidecar.parameters),
        "seed": sidecar.seed,
        "credits": money.credits(sidecar.credits_micros),
        "upstreamJobId": sidecar.upstream_job_id,
        "contentType": sidecar.content_type,
        "width": sidecar.width,
        "height": sidecar.height,
        "bytes": sidecar.size_bytes,
        "sha256": sidecar.sha256,
        "createdAt": clock.rfc3339_ms(sidecar.created_at),
    }
    encoder = msgspec.json.Encoder(decimal_format="number", order="deterministic")
    return msgspec.json.format(encoder.encode(members), indent=2) + b"\n"
