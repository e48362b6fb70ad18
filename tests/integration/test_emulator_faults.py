"""The stand-in PixelDojo broken on purpose: each fault is what it says on the wire, and the books tell the truth."""

import threading
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from tests.support.emulator import EmulatorProcess

RUN = "/models/flux-2-max/run"
BODY = {"prompt": "a torii gate"}


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    """One process for the module."""
    with EmulatorProcess() as started:
        yield started


@pytest.fixture
def emulator(process: EmulatorProcess) -> EmulatorProcess:
    """The process, begun anew; jobs end at once."""
    process.reset()
    process.switch(duration_s=0)
    return process


@pytest.fixture
def client(emulator: EmulatorProcess) -> Iterator[httpx.Client]:
    """A client with a key and little patience."""
    headers = {"Authorization": "Bearer pd_any"}
    with httpx.Client(base_url=emulator.api_base, headers=headers, timeout=5.0) as opened:
        yield opened


def _job(client: httpx.Client, **parameters: Any) -> dict[str, Any]:
    ordered = client.post(RUN, json={**BODY, **parameters})
    assert ordered.status_code == 202, ordered.text
    found: dict[str, Any] = client.get(f"/jobs/{ordered.json()['jobId']}").json()
    return found


def _accepted(emulator: EmulatorProcess) -> tuple[int, int, int]:
    totals = emulator.books()["totals"]
    return totals["submitsReceived"], totals["submitsAccepted"], totals["debited"]


@pytest.mark.parametrize(("kind", "created"), [("cut_before", 0), ("cut_after", 1), ("cut_midway", 1)])
@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_is_a_cut(
    emulator: EmulatorProcess, client: httpx.Client, kind: str, created: int, *, reset: bool
) -> None:
    """A cut closes the TCP connection without an answer, before or after the job was created and debited."""
    emulator.switch(submit_fault={"kind": kind, "reset": reset, "times": 1})
    with pytest.raises(httpx.ReadError if reset else httpx.RemoteProtocolError):
        client.post(RUN, json=BODY)
    assert _accepted(emulator) == (1, created, 2 * created)
    assert client.post(RUN, json=BODY).status_code == 202


@pytest.mark.parametrize("accepted", [True, False])
def test_a_hang_lasts_until_the_client_leaves(
    emulator: EmulatorProcess, client: httpx.Client, *, accepted: bool
) -> None:
    """A hanging submit answers nothing, and has or has not created the job, as chosen."""
    emulator.switch(submit_fault={"kind": "hang", "accepted": accepted, "times": 1})
    with pytest.raises(httpx.ReadTimeout):
        client.post(RUN, json=BODY, timeout=0.2)
    assert _accepted(emulator)[1] == int(accepted)


def test_a_hang_ends_with_a_cut(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """After `hang_s` the connection is cut; `hang_midway` has sent half of the body by then."""
    emulator.switch(
        submit_fault=[{"kind": "hang", "hang_s": 0.05, "times": 1}, {"kind": "hang_midway", "hang_s": 0.05}]
    )
    for message in ("without sending a response", "without sending complete message body"):
        with pytest.raises(httpx.RemoteProtocolError, match=message):
            client.post(RUN, json=BODY)


@pytest.mark.parametrize("accepted", [False, True])
def test_a_500_may_come_after_the_debit(emulator: EmulatorProcess, client: httpx.Client, *, accepted: bool) -> None:
    """A status fault answers 500 before the job was created, or after, with its credits gone."""
    emulator.switch(submit_fault={"kind": "status", "status": 500, "accepted": accepted, "times": 1})
    answer = client.post(RUN, json=BODY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "server_error")
    assert _accepted(emulator) == (1, int(accepted), 2 * int(accepted))


def test_a_429_says_when_to_come_back(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """A 429 carries Retry-After in seconds or as a date and X-RateLimit headers, or none of them."""
    headers = {"retry_after_s": 30, "rate_limit_limit": 60, "rate_limit_remaining": 0, "rate_limit_reset_s": 30}
    emulator.switch(
        submit_fault=[
            {"kind": "status", "status": 429, "times": 1, **headers},
            {"kind": "status", "status": 429, "times": 1, "retry_after_s": 30, "retry_after_date": True},
            {"kind": "status", "status": 429, "times": 1, "headers": {"CF-Ray": "1"}},
        ]
    )
    full, dated, bare = [client.post(RUN, json=BODY) for _ in range(3)]
    assert full.headers["retry-after"] == "30"
    assert full.headers["x-ratelimit-limit"] == "60"
    assert full.headers["x-ratelimit-remaining"] == "0"
    assert parsedate_to_datetime(dated.headers["retry-after"]).timestamp() == pytest.approx(
        int(full.headers["x-ratelimit-reset"]), abs=2
    )
    assert "retry-after" not in bare.headers
    assert bare.headers["cf-ray"] == "1"
    assert _accepted(emulator) == (3, 0, 0)


def test_an_answer_may_be_unreadable(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """A page instead of JSON, a 202 without a job, an empty body, a redirect: as ordered, one after the other."""
    emulator.switch(
        submit_fault=[
            {"kind": "non_json", "times": 1},
            {"kind": "garbage_202", "times": 1},
            {"kind": "status", "status": 503, "body": "empty", "times": 1},
            {"kind": "status", "status": 502, "body": "html", "times": 1},
            {"kind": "redirect", "location": "http://127.0.0.1:9/x", "times": 1},
        ]
    )
    page, garbage, empty, edge, redirect = [client.post(RUN, json=BODY) for _ in range(5)]
    assert (page.status_code, page.headers["content-type"][:9]) == (202, "text/html")
    assert (garbage.status_code, garbage.json()) == (202, {"status": "pending"})
    assert (empty.status_code, empty.content) == (503, b"")
    assert (edge.status_code, edge.headers["content-type"][:9]) == (502, "text/html")
    assert (redirect.status_code, redirect.headers["location"]) == (302, "http://127.0.0.1:9/x")
    assert _accepted(emulator) == (5, 2, 4)


def test_a_slow_answer_is_the_ordinary_one(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """A slow submit answers after its delay as if nothing had been."""
    emulator.switch(submit_fault={"kind": "slow", "delay_s": 0.2})
    answer = client.post(RUN, json=BODY)
    assert answer.status_code == 202
    assert answer.elapsed.total_seconds() >= 0.2


def test_each_operation_has_its_faults(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """Polls, lists, model reads and downloads are broken apart from each other."""
    (url,) = _job(client)["output"]["images"]
    fault = {"kind": "status", "status": 503, "times": 1}
    job_id = emulator.books()["jobs"][0]["jobId"]
    reads = {
        "poll_fault": f"{emulator.api_base}/jobs/{job_id}",
        "list_fault": f"{emulator.api_base}/jobs",
        "models_fault": f"{emulator.api_base}/models/flux-2-max",
        "download_fault": url,
    }
    for name, address in reads.items():
        emulator.switch(**{name: fault})
        assert [client.get(address).status_code for _ in range(2)] == [503, 200], name
    assert emulator.books()["totals"]["faults"] == dict.fromkeys(
        ("poll:status", "list:status", "models:status", "download:status"), 1
    )


def test_a_download_may_be_cut(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """A download cut in its middle has delivered the bytes asked for and not one more."""
    (url,) = _job(client)["output"]["images"]
    emulator.switch(download_fault={"kind": "cut_midway", "cut_bytes": 1000, "prompt_contains": "torii"})
    with pytest.raises(httpx.RemoteProtocolError, match="received 1000 bytes"):
        httpx.get(url)


def test_a_fault_may_choose_its_victims(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """A rule strikes only requests of its model and prompt."""
    emulator.switch(submit_fault={"kind": "status", "model": "flux-2-pro", "prompt_contains": "torii"})
    statuses = [
        client.post(f"/models/{model}/run", json={"prompt": prompt}).status_code
        for model, prompt in (("flux-2-max", "torii"), ("flux-2-pro", "gate"), ("flux-2-pro", "torii"))
    ]
    assert statuses == [202, 202, 500]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("object", {"error": {"code": "nsfw", "message": "No"}}),
        ("string", {"error": "No"}),
        ("message", {"message": "No"}),
    ],
)
def test_a_job_may_fail(emulator: EmulatorProcess, client: httpx.Client, how: str, expected: dict[str, Any]) -> None:
    """A failed job says so with 200, with its error in the shape chosen, and stays charged."""
    emulator.switch(outcome={"kind": "failed", "error": how, "code": "nsfw", "message": "No"})
    body = _job(client)
    assert body["status"] == "failed"
    assert "output" not in body
    assert {name: body[name] for name in expected} == expected
    assert emulator.books()["totals"]["refunded"] == 0


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("none", {"creditCost": 2}),
        ("credit_cost", {"creditCost": 0}),
        ("refunded", {"creditCost": 2, "refunded": True, "creditsRefunded": 2}),
    ],
)
def test_a_failure_may_be_refunded(
    emulator: EmulatorProcess, client: httpx.Client, how: str, expected: dict[str, Any]
) -> None:
    """A refund is in the books and the balance, and its poll shows it in the way chosen."""
    emulator.switch(outcome="failed", refund_on_failure=True, refund_shown=how)
    body = _job(client)
    assert {name: body.get(name) for name in ("creditCost", "refunded", "creditsRefunded") if name in body} == expected
    totals = emulator.books()["totals"]
    assert (totals["debited"], totals["refunded"], totals["creditsRemaining"]) == (2, 2, 1000)


def test_pictures_may_be_missing(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """A completed job may have no picture, or fewer than ordered."""
    emulator.switch(
        outcome=[
            {"kind": "completed_without_images", "times": 1},
            {"kind": "fewer_images", "times": 1},
            {"kind": "fewer_images", "images": 1},
        ]
    )
    counts = [len(_job(client, num_outputs=3)["output"]["images"]) for _ in range(3)]
    assert counts == [0, 2, 1]


def test_a_status_may_be_unknown(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """An unknown status carries its text for ever, or for its time and then the job completes."""
    emulator.switch(
        outcome=[
            {"kind": "unknown_status", "status": "moderating", "for_s": 0.1, "times": 1},
            {"kind": "unknown_status"},
        ]
    )
    some, ever = _job(client), _job(client)
    assert (some["status"], ever["status"]) == ("moderating", "reviewing")
    emulator.wait_for(lambda books: books["jobs"][0]["finishedAt"] is not None)
    assert client.get(f"/jobs/{some['jobId']}").json()["status"] == "completed"
    assert client.get(f"/jobs/{ever['jobId']}").json()["status"] == "reviewing"


def test_a_job_may_be_lost(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """A lost job's address is 404 while its credits are spent and the list still shows it."""
    emulator.switch(outcome="lost")
    job_id = client.post(RUN, json=BODY).json()["jobId"]
    assert client.get(f"/jobs/{job_id}").status_code == 404
    assert client.get("/jobs").json()["jobs"][0]["jobId"] == job_id
    assert emulator.books()["totals"]["debited"] == 2


@pytest.mark.parametrize("status", [402, 403])
def test_credits_run_out(emulator: EmulatorProcess, client: httpx.Client, status: int) -> None:
    """Without credits a submit is 402 or 403 with its code, and a top-up heals it."""
    emulator.switch(balance=3, out_of_credits_status=status)
    answers = [client.post(RUN, json=BODY) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, status]
    assert answers[1].json()["error"]["code"] == "insufficient_credits"
    emulator.switch(balance=2.5)
    assert client.post(RUN, json=BODY).json()["creditsRemaining"] == 0.5
    totals = emulator.books()["totals"]
    assert totals["openingBalance"] + totals["adjusted"] - totals["debited"] == totals["creditsRemaining"]


def test_a_key_may_be_refused(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """`key_refused` is a 401 to everyone."""
    emulator.switch(key_refused=True)
    assert client.post(RUN, json=BODY).status_code == 401
    assert client.get("/jobs/job_x").status_code == 401


def test_the_rate_limit_is_real(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """All calls share one limit, each answer shows what is left, and the one too many is a 429 that created nothing."""
    emulator.switch(rate_limit_rpm=3)
    answers = [client.get("/models"), client.post(RUN, json=BODY), client.get("/jobs"), client.post(RUN, json=BODY)]
    assert [answer.status_code for answer in answers] == [200, 202, 200, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60
    assert _accepted(emulator) == (2, 1, 2)
    emulator.switch(rate_limit_retry_after=False)
    assert "retry-after" not in client.get("/jobs").headers


def test_answers_take_other_shapes(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """Images as objects, as one URL, or only as assets; fields left out; hosts replaced; errors in other envelopes."""
    emulator.switch(image_shape="objects", assets=True)
    body = _job(client, seed=5)
    (image,) = body["output"]["images"]
    assert {name: image[name] for name in ("seed", "width", "height")} == {"seed": 5, "width": 1024, "height": 1024}
    assert body["assets"] == [{"url": image["url"]}]
    emulator.switch(image_shape="strings", output_key="image", image_host="https://elsewhere.example", assets=False)
    assert _job(client)["output"]["image"].startswith("https://elsewhere.example/pixeldojotemp/")
    emulator.switch(output_key="none", assets=True, omit_credit_cost=True, expires_at="omit")
    assert set(_job(client)) == {"jobId", "status", "assets"}
    emulator.switch(
        omit_credits_remaining=True, expires_at="soon", submit_status=200, status_url_host="elsewhere.example"
    )
    answer = client.post(RUN, json=BODY)
    assert answer.status_code == 200
    assert set(answer.json()) == {"jobId", "status", "statusUrl", "expiresAt"}
    assert answer.json()["statusUrl"].startswith("http://elsewhere.example/api/v1/jobs/")
    emulator.switch(error_envelope="string")
    assert client.get("/jobs/none").json() == {"error": "Job not found"}
    emulator.switch(error_envelope="message")
    assert client.get("/jobs/none").json() == {"message": "Job not found"}


def test_prices_can_change(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """A price set by switch is charged and shown in the catalogue, flat or by resolution."""
    emulator.switch(prices={"flux-2-max": {"1 MP": 2.5, "2 MP": 4}, "flux-2-pro": 3})
    assert _job(client, num_outputs=2)["creditCost"] == 5
    assert _job(client, resolution="2 MP")["creditCost"] == 4
    costs = {model["apiId"]: model["creditCost"] for model in client.get("/models").json()["models"]}
    assert costs["flux-2-max"] == {"default": 2.5, "type": "variable"}
    assert costs["flux-2-pro"] == {"default": 3, "type": "fixed", "amount": 3}


def test_the_list_may_be_absent_late_or_silent(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """The job list may be 404, leave out young jobs, or hide prompts."""
    _job(client)
    emulator.switch(job_list_prompts=False)
    assert "prompt" not in client.get("/jobs").json()["jobs"][0]
    emulator.switch(job_list_lag_s=60)
    assert client.get("/jobs").json()["jobs"] == []
    emulator.switch(job_list=False)
    assert client.get("/jobs").status_code == 404


def test_a_bad_switch_is_a_400_by_name(emulator: EmulatorProcess) -> None:
    """An unknown switch or a bad value is refused by name over HTTP too."""
    for switches in ({"no_such_switch": 1}, {"balance": -1}, {"balance": "much"}, {"poll_fault": {"kind": "explode"}}):
        with pytest.raises(ValueError, match=next(iter(switches))):
            emulator.switch(**switches)


def test_switches_can_be_reset_alone(emulator: EmulatorProcess, client: httpx.Client) -> None:
    """Resetting the switches keeps jobs and balance; resetting everything takes a new balance."""
    _job(client)
    emulator.switch(assets=True, poll_fault="cut_after")
    shown = emulator.reset_switches()
    assert (shown["assets"], shown["poll_fault"], shown["balance"]) == (False, [], 998)
    emulator.reset(balance="0.5")
    books = emulator.books()
    assert (books["jobs"], books["totals"]["creditsRemaining"]) == ([], 0.5)


def test_hundreds_of_callers_at_once(emulator: EmulatorProcess) -> None:
    """A balance for 50 pictures pays for exactly 50, however many callers ask at once."""
    emulator.reset(balance=100)
    statuses: list[int] = []

    def call() -> None:
        with httpx.Client(base_url=emulator.api_base, headers={"Authorization": "Bearer pd_any"}) as client:
            statuses.extend(client.post(RUN, json=BODY).status_code for _ in range(20))

    threads = [threading.Thread(target=call) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (statuses.count(202), statuses.count(402)) == (50, 150)
