"""The stand-in PixelDojo over TCP: what it answers when nothing is broken."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.emulator import EmulatorProcess

RUN = "/models/flux-2-max/run"


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    """One process for the module."""
    with EmulatorProcess(time_scale=0.01) as started:
        yield started


@pytest.fixture
def emulator(process: EmulatorProcess) -> EmulatorProcess:
    """The process, begun anew; jobs end at once."""
    process.reset()
    process.switch(duration_s=0)
    return process


@pytest.fixture
def client(emulator: EmulatorProcess) -> Iterator[httpx.Client]:
    """A client with a key."""
    with httpx.Client(base_url=emulator.api_base, headers={"Authorization": "Bearer pd_any"}) as opened:
        yield opened


def _run(client: httpx.Client, **parameters: Any) -> dict[str, Any]:
    answer = client.post(RUN, json={"prompt": "a torii gate", **parameters})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_submit_is_answered_as_the_seed_shows(client: httpx.Client) -> None:
    """The 202 has the seed's fields in the seed's order, and plain numbers for credits."""
    answer = client.post(RUN, json={"prompt": "A beautiful mountain landscape", "aspect_ratio": "1:1"})
    body = answer.json()
    assert answer.status_code == 202
    assert list(body) == ["jobId", "status", "statusUrl", "creditCost", "creditsRemaining", "expiresAt"]
    assert body["jobId"].startswith("job_")
    assert body["status"] == "pending"
    assert body["statusUrl"] == f"{str(client.base_url).rstrip('/')}/jobs/{body['jobId']}"
    assert '"creditCost":2,"creditsRemaining":998,' in answer.text
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["expiresAt"])


def test_a_completed_job_is_answered_as_the_seed_shows(client: httpx.Client) -> None:
    """A completed poll has the seed's fields in the seed's order, images as absolute URLs."""
    body = client.get(f"/jobs/{_run(client)['jobId']}").json()
    assert list(body) == ["jobId", "status", "output", "creditCost", "expiresAt"]
    assert body["status"] == "completed"
    (url,) = body["output"]["images"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/pixeldojotemp/\d{10}-\d{6}\.png", url)


def test_a_job_takes_its_time(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """A job is pending or processing until its scaled duration is over, then completed; the books know when."""
    emulator.switch(duration_s={"min": 40, "max": 45}, time_scale=0.005)
    job_id = _run(client)["jobId"]
    assert client.get(f"/jobs/{job_id}").json()["status"] in ("pending", "processing")
    (row,) = emulator.wait_for(lambda books: books["jobs"][0]["finishedAt"] is not None)["jobs"]
    assert row["seenAt"] is None
    assert client.get(f"/jobs/{job_id}").json()["status"] == "completed"
    (row,) = emulator.books()["jobs"]
    assert row["createdAt"] < row["finishedAt"] <= row["seenAt"]


def test_the_price_is_per_picture_and_resolution(client: httpx.Client) -> None:
    """`num_outputs` multiplies the price, and a model priced by resolution is charged by it, in fractions too."""
    assert _run(client, num_outputs=3)["creditCost"] == 6
    answer = client.post("/models/flux-2-flex/run", json={"prompt": "gate", "resolution": "4 MP"})
    assert answer.json()["creditCost"] == 5
    answer = client.post("/models/flux-2-klein-4b/run", json={"prompt": "gate", "num_outputs": 3})
    assert '"creditCost":0.3,"creditsRemaining":988.7,' in answer.text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prompt": "gate", "steps": 4}, "steps"),
        ({"prompt": "gate", "aspect_ratio": "2:1"}, "aspect_ratio"),
        ({"aspect_ratio": "1:1"}, "prompt"),
        ({"prompt": "gate", "webhook_url": "not a url"}, "webhook_url"),
    ],
)
def test_a_wrong_body_is_refused_by_field(
    emulator: EmulatorProcess, client: httpx.Client, body: dict[str, Any], field: str
) -> None:
    """A body that the schema refuses is a 400 that names the field and costs nothing."""
    answer = client.post(RUN, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_request"
    assert field in answer.json()["error"]["message"]
    totals = emulator.books()["totals"]
    assert (totals["submitsReceived"], totals["submitsAccepted"], totals["debited"]) == (1, 0, 0)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'"prompt"'])
def test_a_body_that_is_no_object_is_refused(client: httpx.Client, body: bytes) -> None:
    """What is no JSON object is a 400, whatever it is."""
    assert client.post(RUN, content=body).status_code == 400


def test_a_body_too_large_is_refused(client: httpx.Client) -> None:
    """More than 1 MiB is a 413 and leaves the connection usable."""
    assert client.post(RUN, json={"prompt": "x" * 1_100_000}).status_code == 413
    assert client.get("/jobs").status_code == 200


def test_unknown_things_are_not_found(client: httpx.Client) -> None:
    """An unknown model, job or route is a 404 with its code; a known route's other methods are a 405."""
    assert client.post("/models/flux-9/run", json={"prompt": "gate"}).json()["error"]["code"] == "model_not_found"
    assert client.get("/jobs/job_none").json()["error"]["code"] == "job_not_found"
    assert client.get("/credits").status_code == 404
    assert client.delete("/jobs/job_none").status_code == 405


def test_no_key_is_refused(emulator: EmulatorProcess) -> None:
    """Submits, polls and lists want a key; models and pictures do not."""
    for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Basic pd_any"}):
        with httpx.Client(base_url=emulator.api_base, headers=headers) as stranger:
            answers = [stranger.post(RUN, json={"prompt": "gate"}), stranger.get("/jobs/job_x"), stranger.get("/jobs")]
            assert [answer.status_code for answer in answers] == [401, 401, 401]
            assert answers[0].json()["error"]["code"] == "invalid_api_key"
            assert stranger.get("/models").status_code == 200


def test_the_list_is_newest_first_and_paged(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """The job list goes page by page through all jobs, newest first, and leaves none out."""
    emulator.switch(job_list_page=2)
    made = [_run(client, prompt=f"gate {number}")["jobId"] for number in range(5)]
    listed, cursor = [], ""
    while cursor is not None:
        page = client.get("/jobs", params={"cursor": cursor} if cursor else {}).json()
        assert len(page["jobs"]) <= 2
        listed += page["jobs"]
        cursor = page["nextCursor"]
    assert [row["jobId"] for row in listed] == made[::-1]
    assert set(listed[0]) == {"jobId", "status", "model", "createdAt", "creditCost", "prompt"}


def test_the_catalogue_is_public(emulator: EmulatorProcess) -> None:
    """Models are listed with counts, filtered by modality, and each shows its schema in three places alike."""
    with httpx.Client(base_url=emulator.api_base) as stranger:
        everything = stranger.get("/models").json()
        images = stranger.get("/models", params={"modality": "image"}).json()
        assert everything["total"] == everything["imageCount"] + everything["videoCount"] == len(everything["models"])
        assert images["total"] == everything["imageCount"] < everything["total"]
        shown = next(model for model in everything["models"] if model["apiId"] == "flux-2-max")
        assert shown["creditCost"] == {"default": 2, "type": "fixed", "amount": 2}
        detail = stranger.get("/models/flux-2-max").json()
        schema = stranger.get("/models/flux-2-max/schema").json()["schema"]
        listed = stranger.get("/models", params={"detailed": "true"}).json()["models"][0]
        assert detail["requestSchema"] == schema == listed["requestSchema"]
        assert schema["properties"]["resolution"]["enum"] == ["0.5 MP", "1 MP", "2 MP", "4 MP"]
        assert stranger.get("/models/flux-9/schema").status_code == 404


def test_urls_follow_the_host_asked_for(client: httpx.Client) -> None:
    """URLs carry the Host of the request, so that a proxy in between still works."""
    answer = client.post(RUN, json={"prompt": "gate"}, headers={"Host": "dojo.example:81"})
    assert answer.json()["statusUrl"].startswith("http://dojo.example:81/api/v1/jobs/")


def test_a_key_can_be_demanded() -> None:
    """With `--key` and `--public-base` only that key is good, and URLs carry that base."""
    arguments = ("--public-base", "http://emulator:8799")
    with (
        EmulatorProcess(key="pd_right", arguments=arguments) as strict,
        httpx.Client(base_url=strict.api_base) as client,
    ):
        wrong = client.post(RUN, json={"prompt": "gate"}, headers={"Authorization": "Bearer pd_wrong"})
        right = client.post(RUN, json={"prompt": "gate"}, headers={"Authorization": "Bearer pd_right"})
        assert (wrong.status_code, right.status_code) == (401, 202)
        assert right.json()["statusUrl"].startswith("http://emulator:8799/api/v1/jobs/")
