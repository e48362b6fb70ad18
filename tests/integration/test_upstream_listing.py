"""The upstream's public catalogue over TCP: what is asked, and what is said of an upstream that does not answer."""

import time
from typing import Any

import pytest

from gateway import errors
from gateway.images import catalogue
from gateway.upstream import comparison, listing
from gateway.upstream.comparison import Difference, Kind
from tests.support import ports
from tests.support.emulator import EmulatorProcess

OURS = catalogue.load()
MODEL = "flux-2-max"


async def found(emulator: EmulatorProcess, *, pinned: bool = True) -> list[Difference]:
    """What is different at the emulator."""
    offers = await listing.read(emulator.api_base, list(OURS.models), deadline_s=10)
    return comparison.compare(OURS, {}, offers, pinned=pinned)


async def test_the_emulators_catalogue_is_ours(emulator: EmulatorProcess) -> None:
    """Nothing is different in the models that both have; two questions at most are asked, and nothing is spent."""
    assert await found(emulator) == []
    new = await found(emulator, pinned=False)
    assert {each.kind for each in new} == {Kind.NEW}
    assert "kling-video-v3-pro-text" not in {each.model for each in new}
    totals = emulator.books()["totals"]
    assert (totals["submitsReceived"], totals["debited"]) == (0, 0)
    assert totals["modelReads"] == 2


async def test_a_changed_catalogue_is_told(emulator: EmulatorProcess) -> None:
    """A model that is gone, another price, a parameter that came, went or changed: each is told by its name."""
    emulator.switch(
        models={
            "flux-2-flex": None,
            "brand-new": {},
            MODEL: {
                "guidance": {"type": "integer", "description": "new"},
                "seed": None,
                "resolution": {"type": "string", "enum": ["1 MP", "2 MP"], "default": "2 MP"},
            },
        },
        prices={MODEL: 3},
    )
    told = await found(emulator, pinned=False)
    ours = ["0.5 MP", "1 MP", "2 MP", "4 MP"]
    assert [each for each in told if each.model in (MODEL, "flux-2-flex", "brand-new")] == [
        Difference(Kind.PRICE, MODEL, "resolution", 2, 3),
        Difference(Kind.PARAMETER_ADDED, MODEL, "guidance", None, "optional"),
        Difference(Kind.ENUM, MODEL, "resolution", ours, ["1 MP", "2 MP"]),
        Difference(Kind.DEFAULT, MODEL, "resolution", "1 MP", "2 MP"),
        Difference(Kind.PARAMETER_REMOVED, MODEL, "seed"),
        Difference(Kind.GONE, "flux-2-flex"),
        Difference(Kind.NEW, "brand-new", None, None, 2),
    ]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "status", "status": 500}, "status 500"),
        ({"kind": "status", "status": 429, "retry_after_s": 5}, "status 429"),
        ({"kind": "status", "status": 404, "body": "html"}, "status 404"),
        ({"kind": "redirect"}, "status 302"),
        ({"kind": "non_json"}, "not JSON"),
        ({"kind": "garbage_202"}, "status 202"),
        ({"kind": "cut_before"}, "no whole answer"),
        ({"kind": "cut_midway"}, "no whole answer"),
        ({"kind": "hang", "hang_s": 30}, "within 1 s"),
        ({"kind": "hang_midway", "hang_s": 30}, "within 1 s"),
    ],
)
async def test_a_fault_is_one_line_in_time(emulator: EmulatorProcess, fault: dict[str, Any], said: str) -> None:
    """Whatever goes wrong upstream is one line that says what was asked and what came, within the deadline."""
    emulator.switch(models_fault=fault)
    begun = time.monotonic()
    with pytest.raises(errors.Unavailable) as refused:
        await listing.read(emulator.api_base, list(OURS.models), deadline_s=1)
    assert time.monotonic() - begun < 5
    assert said in refused.value.message
    assert "GET /models" in refused.value.message
    assert "\n" not in refused.value.message


async def test_nobody_there_is_said_so() -> None:
    """A base where nobody listens is told as such, by its setting."""
    with pytest.raises(errors.Unavailable, match="PIXELDOJO_API_BASE"):
        await listing.read(f"http://127.0.0.1:{ports.free_one()}/api/v1", [MODEL], deadline_s=5)
