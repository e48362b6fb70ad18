"""What a command's options mean, what differs between a file and the store, and what a store command loads."""

import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest

from cli import amounts, apply, differences
from gateway import errors
from service.admin_bodies import WindowBudgetWanted

#: A webhook's URL is read as the client reads it that will call it.
READS_URLS = ("team", "apply")


@pytest.mark.parametrize("name", ["key", "usage", "ledger", *READS_URLS])
def test_store_commands_load_no_foreign_room(name: str) -> None:
    """A command on the stores that needs no queue, archive or HTTP client loads none."""
    program = f"import sys, cli.{name}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    foreign = {"obstore", "arq", "PIL", "litestar"} | (set() if name in READS_URLS else {"httpx"})
    assert not foreign & set(loaded)


@pytest.mark.parametrize(("text", "amount"), [("500", "500"), ("0.25", "0.25"), ("-2", "-2"), ("1e2", "100")])
def test_amounts(text: str, amount: str) -> None:
    """An amount is read exactly."""
    assert amounts.credits("--credits", text) == Decimal(amount)


@pytest.mark.parametrize("text", ["", "much", "nan", "inf", "1,5", "--"])
def test_no_amounts(text: str) -> None:
    """What is no number is refused by the option's name."""
    with pytest.raises(errors.InvalidParameter, match="--credits"):
        amounts.credits("--credits", text)


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0), ("30m", 1800), ("24h", 86_400), ("2w", 1_209_600)])
def test_spans(text: str, seconds: int) -> None:
    """A span is a number and a unit."""
    assert amounts.seconds("--grace", text) == seconds


@pytest.mark.parametrize("text", ["", "24", "1y", "-1h", "h"])
def test_no_spans(text: str) -> None:
    """What is no span is refused by the option's name."""
    with pytest.raises(errors.InvalidParameter, match="--grace"):
        amounts.seconds("--grace", text)


def found(**members: object) -> dict[str, Any]:
    """A team as the surface shows it."""
    limits = {"rpm": 300, "concurrency": None, "queueDepth": 10_000, "maxQueueS": 3600, "policy": None}
    return {"id": "team_1", "name": "drawing", **limits, **members}


def test_only_what_differs_is_asked_for() -> None:
    """A limit that is so already is left alone, one that is not named too, and null is a value."""
    wanted = apply.WantedTeam(name="drawing", rpm=300, concurrency=None, max_queue_s=60)
    (change,) = differences.of_team(wanted, found(concurrency=4))
    assert change.body == {"concurrency": None, "maxQueueS": 60}
    assert differences.of_team(wanted, found(maxQueueS=60)) == []


def test_two_spellings_of_a_policy_are_one() -> None:
    """Members of a policy that say nothing new make no difference."""
    wanted = apply.WantedTeam(name="drawing", policy={"models": ["a", "b"], "onUnknown": "wait"})
    assert differences.of_team(wanted, found(policy={"models": ["a", "b"]})) == []
    assert len(differences.of_team(wanted, found(policy={"models": ["a"]}))) == 1


def test_budgets_are_all_that_is_wanted() -> None:
    """Given budgets replace the others of the same owner, and touch nobody else's."""
    standing: list[dict[str, Any]] = [
        {"keyId": None, "window": "day", "limit": Decimal("0.1"), "soft": None},
        {"keyId": None, "window": "month", "limit": 5, "soft": None},
        {"keyId": "k", "window": "total", "limit": 5, "soft": None},
    ]
    wanted = (WindowBudgetWanted(window="day", limit=0.1),)
    changes = differences.of_budgets("drawing", "team_1", None, wanted, standing)
    assert [(change.deed, change.path["window"]) for change in changes] == [("budget.delete", "month")]


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (apply.WantedKey(), errors.MissingParameter),
        (apply.WantedKey(name="gone"), errors.KeyNotFound),
        (apply.WantedKey(id="3"), errors.KeyNotFound),
        (apply.WantedKey(name="twin"), errors.Conflict),
    ],
)
def test_a_key_is_named_without_doubt(wanted: apply.WantedKey, error: type[errors.ToriiError]) -> None:
    """A key that is not there, not living, or one of several is not guessed."""
    keys = [
        {"id": "1", "name": "twin", "state": "living"},
        {"id": "2", "name": "twin", "state": "living"},
        {"id": "3", "name": "old", "state": "revoked"},
    ]
    with pytest.raises(error):
        differences.key_named(wanted, keys, "drawing")
    assert differences.key_named(apply.WantedKey(id="2"), keys, "drawing")["id"] == "2"
