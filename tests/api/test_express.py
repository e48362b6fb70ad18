"""The short way to the two routes that are asked most: whoever goes it sees what the framework's way shows."""

from typing import Any

import httpx

from tests.api.door import GOOD, Door

RUN = "/api/v1/models/flux-2-max/run"
#: What differs from one request to the next though both went the same way.
OWN = {"date", "x-request-id"}


def shown(answer: httpx.Response) -> tuple[int, dict[str, str], dict[str, Any]]:
    """What an answer says, without what is each answer's own."""
    body = {name: value for name, value in answer.json().items() if name not in ("instance", "expiresAt")}
    return answer.status_code, {name: value for name, value in answer.headers.items() if name not in OWN}, body


async def test_both_ways_say_the_same(door: Door) -> None:
    """A job, and every refusal on the way to one, read the same with a path that only the framework takes."""
    headers = await door.caller()
    job_id = (await door.run(headers)).json()["jobId"]
    for path, given in (
        (f"/api/v1/jobs/{job_id}", headers),
        (f"/api/v1/jobs/{job_id}", {}),
        (f"/api/v1/jobs/{job_id}", {"Authorization": "Bearer nobody's"}),
        ("/api/v1/jobs/job_nowhere", headers),
        ("/api/v1/jobs/no-job-of-ours", headers),
    ):
        short = await door.client.get(path, headers=given)
        long = await door.client.get(f"{path}/", headers=given)
        assert shown(short) == shown(long), path


async def test_orders_are_refused_alike(door: Door) -> None:
    """What is wrong with an order is said in the same words either way."""
    headers = await door.caller()
    for body in ({}, {**GOOD, "seed": "x"}, {**GOOD, "unknown": 1}):
        short = await door.client.post(RUN, headers=headers, json=body)
        long = await door.client.post(f"{RUN}/", headers=headers, json=body)
        assert short.status_code == 400
        assert shown(short) == shown(long)
    short = await door.client.post("/api/v1/models/no-model/run", headers=headers, json=GOOD)
    long = await door.client.post("/api/v1/models/no-model/run/", headers=headers, json=GOOD)
    assert shown(short) == shown(long)
    assert short.status_code == 404


async def test_both_ways_are_one_series(door: Door) -> None:
    """Metrics label both ways with the same route."""
    headers = await door.caller()
    for path in ("/api/v1/jobs/job_nowhere", "/api/v1/jobs/job_nowhere/"):
        assert (await door.client.get(path, headers=headers)).status_code == 404
    page = (await door.client.get("/metrics")).text
    name = "torii_http_request_duration_seconds_count"
    lines = [line for line in page.splitlines() if line.startswith(name) and "/api/v1/jobs/" in line]
    assert lines == [f'{name}{{method="GET",route="/api/v1/jobs/{{jobId}}",status="404"}} 2.0']


async def test_other_methods_and_hosts_take_the_long_way(door: Door) -> None:
    """A method that the route has not is a 405, HEAD has no body, and a host that is none is refused as ever."""
    headers = await door.caller()
    job_id = (await door.run(headers)).json()["jobId"]
    assert (await door.client.put(f"/api/v1/jobs/{job_id}", headers=headers)).status_code == 405
    head = await door.client.head(f"/api/v1/jobs/{job_id}", headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    odd = await door.client.get(f"/api/v1/jobs/{job_id}", headers={**headers, "Host": "no host/at all"})
    assert odd.status_code == 400
    tag = (await door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).headers["etag"]
    same = await door.client.get(f"/api/v1/jobs/{job_id}", headers={**headers, "If-None-Match": tag})
    assert (same.status_code, same.content) == (304, b"")
