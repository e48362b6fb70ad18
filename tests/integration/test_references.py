"""Orders that start from pictures, the whole way: what is sent, what it costs, and what is refused."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway import errors
from gateway.images.catalogue import Catalogue
from gateway.images.model import Parameter
from gateway.jobs import accept, batching, desk, gate, lending, quote, submission
from gateway.jobs.states import UNCHARGED, Failure, State
from gateway.reuse.directives import Handling
from gateway.storage import tables, upload_tables
from tests.support import crowd, editing
from tests.support.editing import CREDIT, MODEL, picture
from tests.support.receiver import Receiver
from tests.support.studio import SHARING, Studio


async def test_an_upload_goes_the_whole_way(studio: Studio) -> None:
    """The upstream is sent a link that gives it the very bytes; the job keeps the id, and the hold has its price."""
    upload, rig = await studio.bring(), studio.rig
    accepted = await studio.order(upload.id, num_outputs=2)
    assert accepted.job.hold_micros == 2 * (CREDIT // 4 + CREDIT // 2)
    done = await rig.drive(accepted.job)
    assert (done.state, done.parameters["images"]) == (State.COMPLETED, [upload.id])
    (sent,) = studio.sent()
    (reference,) = sent["references"]
    assert (reference["sha256"], reference["contentType"]) == (hashlib.sha256(picture()).hexdigest(), "image/png")
    (link,) = sent["parameters"]["images"]
    assert link.startswith(f"{rig.house.settings.public_url}/uploads/{upload.id}.png?exp=")
    assert link.partition("sig=")[2] not in str(await crowd.rows(rig, tables.jobs))


async def test_a_url_is_handed_over_as_it_is(studio: Studio) -> None:
    """A URL in an order is the upstream's to fetch; nobody knows what it will find, so nothing is made before."""
    data = picture()
    async with Receiver().listening() as receiver:
        receiver.say(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))
        url = receiver.url("/a.png?token=abc")
        first = await studio.order(url, seed=7)
        assert receiver.messages == []
        second = await studio.order(url, seed=7)
        assert [first.handling, second.handling] == [Handling.BYPASS, Handling.BYPASS]
        assert [first.job.fingerprint, second.job.follows] == [None, None]
        for each in (first, second):
            assert (await studio.rig.drive(each.job)).state is State.COMPLETED
    assert [sent["parameters"]["images"] for sent in studio.sent()] == [[url], [url]]


async def test_the_same_picture_is_the_same_order(studio: Studio) -> None:
    """Uploads count by their bytes: brought again, a picture finds what was made from it; another one does not."""
    first, again, blue = await studio.bring(), await studio.bring(), await studio.bring(picture("blue"))
    made = await studio.order(first.id, seed=7)
    await studio.rig.drive(made.job)
    assert (await studio.order(again.id, seed=7)).handling is Handling.HIT
    assert (await studio.order(again.id, first.id, seed=7)).handling is Handling.MISS
    assert (await studio.order(blue.id, seed=7)).handling is Handling.MISS
    assert len(studio.sent()) == 1


async def test_a_follower_that_leads_sends_its_own_upload(studio: Studio) -> None:
    """Two orders of one picture share a flight; when the first is taken back the second goes on with its own upload."""
    first, again = await studio.bring(), await studio.bring()
    leader, follower = await studio.order(first.id, seed=7), await studio.order(again.id, seed=7)
    assert (follower.handling, follower.job.follows) == (Handling.COLLAPSED, leader.job.id)
    with pytest.raises(errors.Conflict, match=follower.job.id):
        await studio.delete(again)
    await desk.cancel(studio.rig.house.counter, studio.rig.caller, leader.job.id, whole_team=True)
    await studio.delete(first)
    done = await studio.rig.drive(await studio.rig.job(follower.job.id))
    assert done.state is State.COMPLETED
    assert again.id in studio.sent()[0]["parameters"]["images"][0]


async def test_an_upload_that_is_lost_costs_nothing(studio: Studio) -> None:
    """A job whose upload the archive has not is ended before anything is sent, and its hold is free again."""
    upload = await studio.bring()
    job = (await studio.order(upload.id)).job
    for path in studio.objects():
        path.unlink()
    ended = await studio.rig.drive(job)
    assert (ended.state, ended.error_code) == (State.FAILED, Failure.REFERENCE_LOST)
    assert Failure.REFERENCE_LOST in UNCHARGED
    assert upload.id in (ended.error_message or "")
    assert await studio.rig.balance() == (0, 0)
    assert studio.sent() == []


async def test_an_archive_that_is_away_makes_a_job_wait(studio: Studio) -> None:
    """While the archive does not say whether an upload is there, nothing is sent and nothing fails; others go on."""
    upload, rig = await studio.bring(), studio.rig
    job = (await studio.order(upload.id)).job
    other = await rig.order()
    archive = Path(rig.house.settings.archive_url)
    away = editing.unmount(archive)
    await submission.submit(rig.shop)
    waiting = await rig.job(job.id)
    assert (waiting.state, waiting.claim, await rig.outcomes(job.id)) == (State.QUEUED, None, [])
    assert waiting.due_at > rig.house.clock.now()
    assert (await rig.job(other.id)).state is State.RUNNING
    editing.mount(away, archive)
    await rig.hurry(due_at=lending.AGAIN_AFTER)
    assert (await rig.drive(await rig.job(job.id))).state is State.COMPLETED


async def test_an_upstream_that_cannot_fetch(studio: Studio) -> None:
    """What the upstream could not fetch it refuses: nothing is charged, and the link is in no error."""
    async with Receiver().listening() as receiver:
        receiver.say(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        job = (await studio.order(receiver.url("/a?token=s3cret"))).job
        ended = await studio.rig.drive(job)
    assert (ended.state, ended.error_code) == (State.FAILED, Failure.UPSTREAM_REJECTED)
    assert "images[0]" in (ended.error_message or "")
    assert "s3cret" not in (ended.error_message or "")
    assert await studio.rig.balance() == (0, 0)


@pytest.mark.parametrize("begins", [b"GIF89a", b"\0\0\0\x20ftypavif"])
async def test_other_types_meet_no_decoder(studio: Studio, begins: bytes) -> None:
    """What is no type of upload is refused by its first bytes, before anything reads on."""
    with pytest.raises(errors.InvalidParameter, match="must be one of image/png"):
        await studio.bring(begins + b" and nothing that a decoder could take")


async def test_wrong_references_are_named(studio: Studio) -> None:
    """An upload that is no upload of the team's, is over its time or too large, and a bad URL: each by its place."""
    foreign = await studio.bring(caller=await studio.other())
    over, large = await studio.bring(picture("blue")), await studio.bring(picture(side=1100))
    await studio.change(over, expires_at=studio.rig.house.clock.now())
    good = await studio.bring()
    for wrong in (
        foreign.id,
        over.id,
        large.id,
        "upload_none",
        "upload_../../x",
        "data:image/png;base64,AAAA",
        "http://10.0.0.1/a.png",
        "https://[fe80::1]/a.png",
        "ftp://pictures.example/a.png",
        "cat.png",
    ):
        with pytest.raises(errors.InvalidParameter) as refused:
            await studio.order(good.id, wrong)
        assert refused.value.param == "images[1]", wrong
        assert refused.value.message.startswith("images[1]: "), wrong
        body = {"prompt": "x", "images": [good.id, wrong]}
        with pytest.raises(errors.InvalidParameter):
            await quote.quote(studio.rig.house.counter, studio.rig.caller, MODEL, body, 20)
    assert await crowd.rows(studio.rig, tables.jobs) == []
    assert await studio.rig.balance() == (0, 0)


async def test_a_quote_knows_references(studio: Studio) -> None:
    """A quote has the price with its pictures, as a bound, and says that the same picture was used before."""
    first, again = await studio.bring(), await studio.bring()
    counter, caller = studio.rig.house.counter, studio.rig.caller
    body = {"prompt": "the same in snow", "images": [first.id, "https://pictures.example/a.png"], "seed": 7}
    quoted = await quote.quote(counter, caller, MODEL, body, 20, SHARING)
    assert (quoted.cost_micros, quoted.firm, quoted.cached) == (CREDIT // 4 + CREDIT, False, False)
    await studio.rig.drive((await studio.order(first.id, seed=7)).job)
    quoted = await quote.quote(counter, caller, MODEL, {**body, "images": [again.id]}, 20, SHARING)
    assert (quoted.cost_micros, quoted.cached) == (0, True)


async def test_without_an_address_uploads_are_no_use(studio: Studio) -> None:
    """Where the upstream could not fetch an upload, an order with one is refused, and a job with one ends uncharged."""
    upload, rig = await studio.bring(), studio.rig
    alone = dataclasses.replace(rig.house.counter, links_reach_upstream=False)
    body: Mapping[str, object] = {"prompt": "x", "images": [upload.id]}
    with pytest.raises(errors.InvalidParameter, match="TORII_PUBLIC_URL") as refused:
        await accept.accept(alone, rig.caller, MODEL, body)
    assert refused.value.param == "images[0]"
    job = (await accept.accept(rig.house.counter, rig.caller, MODEL, body)).job
    await submission.submit(dataclasses.replace(rig.shop, links_reach_upstream=False))
    ended = await rig.job(job.id)
    assert (ended.error_code, await rig.balance(), studio.sent()) == (Failure.REFERENCE_LOST, (0, 0), [])
    url = {"prompt": "x", "images": ["https://pictures.example/a.png"]}
    assert (await accept.accept(alone, rig.caller, MODEL, url)).job.state is State.QUEUED


@pytest.mark.parametrize("references", [None, "sources"])
async def test_a_worker_that_knows_no_references_sends_nothing(studio: Studio, references: str | None) -> None:
    """A worker whose catalogue has not that parameter pays for nothing without its pictures: the job ends uncharged."""
    rig = studio.rig
    job = (await studio.order("https://pictures.example/a.png")).job
    model = rig.house.catalogue.model(MODEL)
    others = [row for row in model.parameters if row.name != model.references]
    if references is not None:
        others.append(Parameter(name=references, type="images", description="Renamed.", minimum=1, maximum=3))
    older = dataclasses.replace(model, parameters=tuple(others), references=references)
    await submission.submit(dataclasses.replace(rig.shop, catalogue=Catalogue({MODEL: older})))
    ended = await rig.job(job.id)
    assert (ended.state, ended.error_code) == (State.FAILED, Failure.MODEL_WITHDRAWN)
    assert "images" in (ended.error_message or "")
    assert (await rig.balance(), studio.sent()) == ((0, 0), [])


async def test_a_batch_starts_from_uploads(studio: Studio) -> None:
    """Items name uploads as orders do, each pins its own, and what is wrong is named by item and place."""
    rig, one, two = studio.rig, await studio.bring(), await studio.bring(picture("blue"))
    items: list[dict[str, object]] = [
        {"prompt": "x", "images": [one.id]},
        {"prompt": "y", "images": [two.id, one.id]},
    ]

    async def make(items: list[dict[str, object]]) -> batching.Made:
        body = {"model": MODEL, "items": items}
        return await batching.make(rig.house.counter, rig.caller, body, None, gate.Anyone(), SHARING)

    with pytest.raises(errors.InvalidParameter) as refused:
        await make([*items, {"prompt": "z", "images": [one.id, "upload_none"]}])
    assert refused.value.param == "items[2].images[1]"
    assert await crowd.rows(rig, upload_tables.upload_uses) == []
    await make(items)
    assert len(await crowd.rows(rig, upload_tables.upload_uses)) == 3
    for row in await crowd.rows(rig, tables.jobs):
        assert (await rig.drive(await rig.job(row.id))).state is State.COMPLETED
    assert sorted(len(sent["references"]) for sent in studio.sent()) == [1, 2]


async def test_an_upload_that_goes_while_it_is_ordered(studio: Studio) -> None:
    """An order that looked before its upload went is refused by its own transaction, by name, and holds nothing."""
    upload, rig = await studio.bring(), studio.rig

    class Slow(gate.Anyone):
        """Between the look and the row somebody else deletes the upload."""

        async def look(self, model: Any, parameters: Any) -> gate.Admitted:
            await studio.delete(upload)
            return await super().look(model, parameters)

    body = {"prompt": "x", "images": [upload.id]}
    with pytest.raises(errors.InvalidParameter) as refused:
        await accept.accept(rig.house.counter, rig.caller, MODEL, body, admit=Slow())
    assert refused.value.param == "images[0]"
    assert await crowd.rows(rig, tables.jobs) == []
    assert await rig.balance() == (0, 0)
