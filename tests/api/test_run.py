"""Ordering a picture: what is accepted, what is refused, and that a refusal leaves nothing behind."""

import json
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.storage import tables
from gateway.storage.lane import CONVENIENCE_S
from tests.api.door import GOOD, Door, environment
from tests.support import ports
from tests.support.postgres import Postgres
from tests.support.valkey import Valkey

RUN = "/api/v1/models/flux-2-max/run"

#: The seed's 202, field by field.
SEED_TYPES = {
    "jobId": str,
    "status": str,
    "statusUrl": str,
    "creditCost": int,
    "creditsRemaining": int,
    "expiresAt": str,
}
ADDED = {"state", "model", "createdAt", "cached"}


async def left_nothing(door: Door) -> bool:
    """Whether there is neither a job nor an entry in the ledger."""
    return not await door.rows(tables.jobs) and not await door.rows(tables.ledger_entries)


async def test_an_order_is_answered_with_the_seeds_fields_and_ours(any_door: Door) -> None:
    """A 202 has exactly the seed's fields with their types, and those that Torii adds."""
    answer = await any_door.run(await any_door.caller())
    body = answer.json()
    assert answer.status_code == 202
    assert body.keys() == SEED_TYPES.keys() | ADDED
    assert {name: type(body[name]) for name in SEED_TYPES} == SEED_TYPES
    assert body["status"] == "pending"
    assert body["state"] == "queued"
    assert body["statusUrl"] == f"{any_door.base_url}/api/v1/jobs/{body['jobId']}"
    assert datetime.fromisoformat(body["expiresAt"]) > datetime.fromisoformat(body["createdAt"])
    assert answer.headers["Retry-After"] == "2"


@pytest.mark.parametrize(
    ("body", "credits"),
    [
        ({}, 2),
        ({"resolution": "0.5 MP"}, 2),
        ({"num_outputs": 3}, 6),
        ({"resolution": "4 MP", "num_outputs": 4}, 32),
    ],
)
async def test_an_order_holds_the_catalogues_bound(any_door: Door, body: dict[str, Any], credits: int) -> None:
    """After the 202 one hold of the catalogue's upper bound stands in the ledger, and the caller was shown it."""
    answer = await any_door.run(await any_door.caller(), {**GOOD, **body})
    entries = await any_door.rows(tables.ledger_entries)
    assert answer.json()["creditCost"] == credits
    assert [(entry["kind"], entry["amount_micros"], entry["job_id"]) for entry in entries] == [
        ("hold", credits * 1_000_000, answer.json()["jobId"])
    ]


async def test_fractional_credits_are_plain_numbers(door: Door) -> None:
    """A cost of 1.5 credits is written 1.5, with neither quotes nor exponent."""
    answer = await door.run(await door.caller(), model="flux-2-flex")
    assert '"creditCost":1.5,' in answer.text


async def test_the_callers_own_data_comes_back(door: Door) -> None:
    """`torii.metadata` comes back with the job as it was given."""
    metadata = {"order": 7, "tags": ["a", "ä"], "nested": {"deep": None}}
    headers = await door.caller()
    answer = await door.run(headers, {**GOOD, "torii": {"metadata": metadata, "startWithinS": 60}})
    read = await door.client.get(f"/api/v1/jobs/{answer.json()['jobId']}", headers=headers)
    assert answer.json()["torii"] == read.json()["torii"] == {"metadata": metadata}


INVALID: list[tuple[Mapping[str, Any], str, str]] = [
    ({}, "missing_parameter", "prompt"),
    ({"prompt": 7}, "invalid_parameter", "prompt"),
    ({"prompt": None}, "invalid_parameter", "prompt"),
    ({"prompt": ""}, "invalid_parameter", "prompt"),
    ({"prompt": " \n"}, "invalid_parameter", "prompt"),
    ({"prompt": "x" * 10_001}, "invalid_parameter", "prompt"),
    ({"prompt": "a\0b"}, "invalid_parameter", "prompt"),
    ({"prompt": ["a"]}, "invalid_parameter", "prompt"),
    ({**GOOD, "aspectRatio": "1:1"}, "unknown_parameter", "aspectRatio"),
    ({**GOOD, "aspect_ratio": "7:3"}, "invalid_parameter", "aspect_ratio"),
    ({**GOOD, "resolution": "1MP"}, "invalid_parameter", "resolution"),
    ({**GOOD, "num_outputs": 9}, "invalid_parameter", "num_outputs"),
    ({**GOOD, "num_outputs": 0}, "invalid_parameter", "num_outputs"),
    ({**GOOD, "num_outputs": True}, "invalid_parameter", "num_outputs"),
    ({**GOOD, "num_outputs": 1.5}, "invalid_parameter", "num_outputs"),
    ({**GOOD, "seed": "abc"}, "invalid_parameter", "seed"),
    ({**GOOD, "seed": -1}, "invalid_parameter", "seed"),
    ({**GOOD, "seed": 2**31}, "invalid_parameter", "seed"),
    ({**GOOD, "seed": 10**100}, "invalid_parameter", "seed"),
    ({**GOOD, "seed": None}, "invalid_parameter", "seed"),
    ({**GOOD, "safety_tolerance": 6}, "invalid_parameter", "safety_tolerance"),
    ({**GOOD, "prompt_upsampling": "yes"}, "invalid_parameter", "prompt_upsampling"),
    ({**GOOD, "output_format": "jpeg"}, "invalid_parameter", "output_format"),
    ({**GOOD, "input_images": ["https://example.com/a.png"]}, "unknown_parameter", "input_images"),
    ({**GOOD, "webhook_url": "https://10.0.0.1/hook"}, "invalid_parameter", "webhook_url"),
    ({**GOOD, "torii": "fast"}, "invalid_parameter", "torii"),
    ({**GOOD, "torii": {"speed": 1}}, "unknown_parameter", "torii.speed"),
    ({**GOOD, "torii": {"metadata": []}}, "invalid_parameter", "torii.metadata"),
    ({**GOOD, "torii": {"metadata": {"a": "x" * 5000}}}, "invalid_parameter", "torii.metadata"),
    ({**GOOD, "torii": {"metadata": {"a": "\0"}}}, "invalid_parameter", "torii.metadata"),
    ({**GOOD, "torii": {"startWithinS": 0}}, "invalid_parameter", "torii.startWithinS"),
]


async def test_a_bad_field_is_named_and_nothing_is_created(any_door: Door) -> None:
    """Every invalid body is a 400 whose `param` is the field, and neither a job nor a ledger entry comes of it."""
    headers = await any_door.caller()
    for body, code, param in INVALID:
        answer = await any_door.run(headers, body)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, code, param), body
        assert error["type"] == "invalid_request_error"
        assert param.partition(".")[0] in error["message"]
    assert await left_nothing(any_door)


MALFORMED = [
    b"",
    b"{",
    b'{"prompt": "x"',
    b'{"prompt": "x",}',
    b"{'prompt': 'x'}",
    b"[]",
    b'["prompt"]',
    b'"prompt"',
    b"null",
    b"7",
    b'{"prompt": NaN}',
    b'{"prompt": "x", "seed": Infinity}',
    b'{"prompt": "x", "seed": 1e400}',
    b'{"prompt": "x", "seed": ' + b"9" * 5000 + b"}",
    b'{"prompt": "\xff"}',
    b'{"prompt": "\\ud800"}',
    b'{"prompt": "x"} {"prompt": "y"}',
    b"\xef\xbb\xbf" + b'{"prompt": "x"}',
    b"[" * 60_000,
    b'{"a":' * 20_000,
    b'{"prompt": "x", "torii": {"metadata": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}}",
    b'{"prompt": "x", "torii": {"metadata": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}}",
]


async def test_what_is_no_json_object_is_refused(any_door: Door) -> None:
    """Broken JSON, other JSON values, bad UTF-8, NaN and absurd nesting are a 400 `malformed_body`, never a crash."""
    headers = {**await any_door.caller(), "Content-Type": "application/json"}
    for content in MALFORMED:
        answer = await any_door.client.post(RUN, headers=headers, content=content)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed_body"), content[:60]
    assert await left_nothing(any_door)


@pytest.mark.parametrize(
    "media_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "json"]
)
async def test_another_media_type_is_refused(door: Door, media_type: str | None) -> None:
    """A body that is not declared as JSON in UTF-8 is a 415, even if it is JSON."""
    headers = await door.caller() | ({} if media_type is None else {"Content-Type": media_type})
    answer = await door.client.post(RUN, headers=headers, content=json.dumps(GOOD).encode())
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")
    assert await left_nothing(door)


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"']
)
async def test_the_media_type_may_name_its_charset(door: Door, media_type: str) -> None:
    """Spellings of JSON in UTF-8 are all JSON."""
    headers = {**await door.caller(), "Content-Type": media_type}
    assert (await door.client.post(RUN, headers=headers, content=json.dumps(GOOD).encode())).status_code == 202


async def test_a_compressed_body_is_refused(door: Door) -> None:
    """A content encoding is a 415: nothing is unpacked here."""
    headers = {**await door.caller(), "Content-Encoding": "gzip"}
    assert (await door.run(headers)).status_code == 415


async def test_a_body_of_a_megabyte_is_refused(door: Door) -> None:
    """A body past 128 KiB is a 413, whether its length is declared or it comes in chunks."""
    headers = {**await door.caller(), "Content-Type": "application/json"}
    large = json.dumps({"prompt": "x" * 1_000_000}).encode()

    async def chunks() -> Any:
        for start in range(0, len(large), 10_000):
            yield large[start : start + 10_000]

    for content in (large, chunks()):
        answer = await door.client.post(RUN, headers=headers, content=content)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert await left_nothing(door)


async def test_the_largest_body_is_taken(door: Door) -> None:
    """A body of exactly 128 KiB is read."""
    headers = {**await door.caller(), "Content-Type": "application/json"}
    content = json.dumps(GOOD).encode()
    content += b" " * (128 * 1024 - len(content))
    assert (await door.client.post(RUN, headers=headers, content=content)).status_code == 202


@pytest.mark.parametrize("model", ["flux-3", "FLUX-2-MAX", "%00", "x" * 300, "%F0%9F%8C%8A", "%FF"])
async def test_an_unknown_model_is_not_found(door: Door, model: str) -> None:
    """A model that is not in the catalogue is a 404, and nothing is created."""
    headers = {**await door.caller(), "Content-Type": "application/json"}
    request = door.client.build_request("POST", "/", headers=headers, json=GOOD)
    request.url = request.url.copy_with(raw_path=f"/api/v1/models/{model}/run".encode())
    answer = await door.client.send(request)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert await left_nothing(door)


async def _timed(door: Door, headers: dict[str, str]) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    answer = await door.run(headers)
    return answer, time.monotonic() - began


async def test_without_redis_orders_are_still_accepted(
    database_url: str, redis_url: str, tmp_path: Path, valkey: Valkey
) -> None:
    """With Redis stopped or frozen a POST is a 202 in under 2 s, and reading the job goes on."""
    environ = environment(database_url, redis_url, str(tmp_path / "archive"), ports.free_one())
    async with Door(environ, CONVENIENCE_S) as hasty:
        headers = await hasty.caller()
        for fault in (valkey.pause, valkey.stop):
            fault()
            for _ in range(2):
                answer, took_s = await _timed(hasty, headers)
                assert answer.status_code == 202
                assert took_s < 2
            read = await hasty.client.get(f"/api/v1/jobs/{answer.json()['jobId']}", headers=headers)
            assert read.status_code == 200
            valkey.resume()
        assert len(await hasty.rows(tables.jobs)) == 4


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_without_its_database_the_gateway_asks_to_wait(any_door: Door, postgres: Postgres) -> None:
    """With PostgreSQL stopped every route that needs it is a 503 with `Retry-After`, never a 401, and it recovers."""
    headers = await any_door.caller()
    job_id = (await any_door.run(headers)).json()["jobId"]
    postgres.stop()
    for answer in (
        await any_door.run(headers),
        await any_door.client.get(f"/api/v1/jobs/{job_id}", headers=headers),
        await any_door.client.post(f"/api/v1/jobs/{job_id}/cancel", headers=headers),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert (await any_door.client.get("/health/ready")).status_code == 200
    assert (await any_door.client.get("/health/paid")).status_code == 503
    postgres.start()
    assert (await any_door.run(headers)).status_code == 202
    assert len(await any_door.rows(tables.jobs)) == 2
