"""The stand-in PixelDojo's pictures over TCP: what they are, how long they live, and how they go wrong."""

import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.support.emulator import EmulatorProcess


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


def _urls(emulator: EmulatorProcess, **parameters: Any) -> list[str]:
    with httpx.Client(base_url=emulator.api_base, headers={"Authorization": "Bearer pd_any"}) as client:
        ordered = client.post("/models/flux-2-max/run", json={"prompt": "gate", "resolution": "0.5 MP", **parameters})
        urls: list[str] = client.get(f"/jobs/{ordered.json()['jobId']}").json()["output"]["images"]
        return urls


def _image(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize(
    ("extension", "content_type", "form"),
    [("png", "image/png", "PNG"), ("jpg", "image/jpeg", "JPEG"), ("webp", "image/webp", "WEBP")],
)
def test_a_picture_is_what_was_ordered(emulator: EmulatorProcess, extension: str, content_type: str, form: str) -> None:
    """URL, type, bytes and size agree with the order."""
    (url,) = _urls(emulator, output_format=extension, aspect_ratio="16:9", resolution="1 MP")
    answer = httpx.get(url)
    assert url.endswith(f".{extension}")
    assert answer.headers["content-type"] == content_type
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert _image(answer.content).format == form
    assert _image(answer.content).size == (1360, 768)


def test_the_same_order_is_the_same_picture(emulator: EmulatorProcess) -> None:
    """Same prompt, seed, parameters and index: same bytes; anything else: others. Without a seed each is new."""
    first = [httpx.get(url).content for url in _urls(emulator, seed=7, num_outputs=2)]
    again = [httpx.get(url).content for url in _urls(emulator, seed=7, num_outputs=2)]
    others = [httpx.get(url).content for order in ({"seed": 8}, {}, {}) for url in _urls(emulator, **order)]
    assert first == again
    assert len({*first, *others}) == 5


def test_a_picture_vanishes(emulator: EmulatorProcess) -> None:
    """A file is gone when its time is over, and its job still says completed."""
    emulator.switch(result_ttl_s=0.2)
    (url,) = _urls(emulator)
    assert httpx.get(url).status_code == 200
    books = emulator.wait_for(lambda books: books["jobs"][0]["filesGone"])
    assert httpx.get(url).status_code == 404
    assert books["jobs"][0]["status"] == "completed"


def test_pictures_can_be_deleted(emulator: EmulatorProcess) -> None:
    """Files go at once when deleted, of one job or of all."""
    first, second = _urls(emulator), _urls(emulator, num_outputs=2)
    assert emulator.delete_files(emulator.books()["jobs"][0]["jobId"]) == 1
    assert [httpx.get(url).status_code for url in (*first, *second)] == [404, 200, 200]
    assert emulator.delete_files() == 2
    assert [httpx.get(url).status_code for url in second] == [404, 404]
    with pytest.raises(ValueError, match="job_none"):
        emulator.delete_files("job_none")


def test_a_leaked_key_is_noticed(emulator: EmulatorProcess) -> None:
    """A download that carries an Authorization header is served and counted."""
    (url,) = _urls(emulator)
    httpx.get(url)
    assert emulator.books()["totals"]["downloadsWithAuthorization"] == 0
    httpx.get(url, headers={"Authorization": "Bearer pd_any"})
    books = emulator.books()
    assert books["totals"]["downloadsWithAuthorization"] == 1
    assert books["jobs"][0]["downloads"] == books["totals"]["downloads"] == 2


def test_pictures_for_load_tests_have_the_bytes_asked_for(emulator: EmulatorProcess) -> None:
    """With `picture_bytes` each file has that many bytes, the right size, and differs from the next."""
    emulator.switch(picture_bytes=100_000)
    files = [httpx.get(url).content for url in _urls(emulator, num_outputs=2)]
    assert [len(data) for data in files] == [100_000, 100_000]
    assert files[0] != files[1]
    assert _image(files[0]).size == (720, 720)


def test_a_picture_of_another_type(emulator: EmulatorProcess) -> None:
    """`wrong_type` serves another format's bytes under the URL and type ordered."""
    emulator.switch(outcome=[{"kind": "wrong_type", "times": 1}, {"kind": "wrong_type", "served": "webp"}])
    answers = [httpx.get(url) for _ in range(2) for url in _urls(emulator)]
    assert [_image(answer.content).format for answer in answers] == ["JPEG", "WEBP"]
    assert [answer.headers["content-type"] for answer in answers] == ["image/png", "image/png"]


def test_what_is_no_picture(emulator: EmulatorProcess) -> None:
    """`not_a_picture` is a page, `truncated` cannot be decoded, `missing_file` is 404, `oversized` is long."""
    emulator.switch(
        outcome=[
            {"kind": "not_a_picture", "times": 1},
            {"kind": "truncated", "times": 1},
            {"kind": "missing_file", "times": 1},
            {"kind": "oversized", "times": 1, "oversized_bytes": 5_000_000},
        ]
    )
    page, truncated, missing, oversized = [httpx.get(url) for _ in range(4) for url in _urls(emulator)]
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    with pytest.raises(OSError, match="truncated"):
        _image(truncated.content)
    assert missing.status_code == 404
    assert len(oversized.content) == 5_000_000
    assert _image(oversized.content).size == (720, 720)


def test_a_download_may_be_redirected(emulator: EmulatorProcess) -> None:
    """`download_redirect` answers 302, to the same file or to wherever it says."""
    (url,) = _urls(emulator)
    emulator.switch(download_redirect="self")
    assert httpx.get(url).status_code == 302
    assert httpx.get(url, follow_redirects=True).status_code == 200
    emulator.switch(download_redirect="http://169.254.169.254/latest/{name}")
    location = httpx.get(url).headers["location"]
    assert location == f"http://169.254.169.254/latest/{url.rsplit('/', 1)[1]}"


def test_a_head_request_has_no_body(emulator: EmulatorProcess) -> None:
    """A HEAD request answers like a GET without its body, and an unknown name is a 404."""
    (url,) = _urls(emulator)
    head, got = httpx.head(url), httpx.get(url)
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.content == b""
    assert httpx.get(url.replace(".png", ".jpg")).status_code == 404
