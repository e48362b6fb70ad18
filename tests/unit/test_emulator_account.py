"""The emulator's account: credits, states and files on a clock that the test moves."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import account, catalogue, job, money, order, switches

START = 1_795_000_000.0


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> float:
        """Unix seconds."""
        return self.at


def _fate(kind: switches.OutcomeKind = "completed", *, refund: bool = False, **more: float) -> account.Fate:
    outcome = switches.Outcome(kind=kind, **more)  # type: ignore[arg-type]
    return account.Fate(outcome, 2_000_000, 40.0, 45.0, 3600.0, refund)


def _order(count: int = 1) -> order.Order:
    model = catalogue.load()["flux-2-max"]
    return order.read(model, f'{{"prompt": "gate", "num_outputs": {count}}}'.encode(), webhooks=True)


@pytest.fixture
def clock() -> Clock:
    """A clock at the start."""
    return Clock()


@pytest.fixture
def books(clock: Clock) -> account.Account:
    """An account of 10 credits that remembers three jobs."""
    return account.Account(10_000_000, 3, clock)


def test_a_job_goes_from_pending_over_processing_to_completed(books: account.Account, clock: Clock) -> None:
    """A state is a matter of the time alone, and the job ends within its 40 to 45 s."""
    created = books.submit(_order(), _fate())
    states = []
    for clock.at in (START, START + 10, START + 39.9, START + 45.1):
        states.append(job.status(created, clock.at, processing=True))
    assert states == ["pending", "processing", "processing", "completed"]
    assert job.status(created, START + 10, processing=False) == "pending"


def test_an_order_that_is_not_covered_changes_nothing(books: account.Account) -> None:
    """Without enough credits nothing is debited and no job is created."""
    for _ in range(5):
        books.submit(_order(), _fate())
    with pytest.raises(account.OutOfCredits):
        books.submit(_order(), _fate())
    assert (books.balance_micro, books.debited_micro, books.accepted) == (0, 10_000_000, 5)


def test_a_refund_comes_with_the_end(books: account.Account, clock: Clock) -> None:
    """A failed job is refunded once, when it ends and not before, and only if that was decided."""
    books.submit(_order(), _fate("failed", refund=True))
    books.submit(_order(), _fate("failed"))
    books.submit(_order(), _fate("completed", refund=True))
    books.settle()
    assert books.balance_micro == 4_000_000
    clock.at += 50
    books.settle()
    books.settle()
    assert (books.balance_micro, books.refunded_micro) == (6_000_000, 2_000_000)


def test_files_appear_with_the_end_and_vanish(books: account.Account, clock: Clock) -> None:
    """A file is there from the job's end until its time is over."""
    (name,) = books.submit(_order(), _fate()).file_names
    assert books.file(name) is None
    clock.at = START + 46
    assert books.file(name) is not None
    clock.at = START + 46 + 3600
    assert books.file(name) is None


def test_deleted_files_are_gone_and_later_ones_are_not(books: account.Account, clock: Clock) -> None:
    """Deleting takes what is stored now, not what will be."""
    first = books.submit(_order(3), _fate())
    clock.at += 46
    second = books.submit(_order(), _fate())
    assert books.delete_files(None) == 3
    clock.at += 46
    assert books.file(first.file_names[0]) is None
    assert books.file(second.file_names[0]) is not None


def test_the_oldest_jobs_are_forgotten(books: account.Account) -> None:
    """Memory is bounded: beyond the limit the oldest job goes, its files too, its money stays booked."""
    created = [books.submit(_order(), _fate()) for _ in range(4)]
    assert [found.id for found in books.newest()] == [found.id for found in reversed(created[1:])]
    assert books.find(created[0].id) is None
    assert books.debited_micro == 8_000_000


def test_an_unknown_status_may_last(books: account.Account, clock: Clock) -> None:
    """An unknown status for some seconds delays the end; without a limit there is none."""
    some = books.submit(_order(), _fate("unknown_status", for_s=100.0))
    ever = books.submit(_order(), _fate("unknown_status"))
    clock.at += 99
    assert job.status(some, clock.at, processing=True) == "reviewing"
    assert books.in_flight() == 2
    clock.at += 1_000_000
    assert job.status(some, clock.at, processing=True) == "completed"
    assert job.status(ever, clock.at, processing=True) == "reviewing"
    assert books.in_flight() == 1


def test_the_expiry_does_not_tell_the_duration(books: account.Account) -> None:
    """All jobs of one moment name the same expiry, so that nobody learns from it when they end."""
    created = [books.submit(_order(), _fate()) for _ in range(3)]
    assert len({found.expires_at for found in created}) == 1
    assert len({found.finished_at for found in created}) == 3


@given(st.integers(min_value=0, max_value=10**15))
def test_money_is_exact_on_the_wire(amount_micro: int) -> None:
    """Micro-credits become plain numbers and come back the same; never an exponent, never a needless zero."""
    shown = str(money.wire(amount_micro))
    assert money.micro(Decimal(shown)) == amount_micro
    assert "E" not in shown.upper()
    assert "." not in shown or not shown.endswith("0")


@pytest.mark.parametrize("text", ["0.0000001", "NaN", "Infinity"])
def test_money_refuses_what_it_cannot_hold(text: str) -> None:
    """More than six decimals, or no number at all, is refused."""
    with pytest.raises(ValueError, match="credits"):
        money.micro(Decimal(text))
