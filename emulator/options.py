"""What the emulator is started with, and the command line that says it. Never opens anything."""

import argparse
import decimal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """The values that hold for the life of the process; everything else is a switch.

    `balance` is in credits. `key` is the only bearer key accepted, or `None` for any. `public_base` replaces
    `http://` and the request's Host in the URLs handed out. `kept_jobs` bounds the memory: the oldest are forgotten.
    """

    host: str = "127.0.0.1"
    port: int = 8799
    time_scale: float = 1.0
    balance: decimal.Decimal = decimal.Decimal(1000)
    key: str | None = None
    public_base: str | None = None
    kept_jobs: int = 100_000
    quiet: bool = False


def parse(arguments: list[str]) -> Options:
    """Read the command line; a bad one ends the process with status 2 and a line that names the argument."""
    default = Options()
    parser = argparse.ArgumentParser(prog="python -m emulator", description="A stand-in PixelDojo.")
    parser.add_argument("--host", default=default.host, help="address to listen on")
    parser.add_argument("--port", type=int, default=default.port, help="port to listen on; 0 picks a free one")
    parser.add_argument("--time-scale", type=_positive, default=default.time_scale, help="1 is real time")
    parser.add_argument("--balance", type=_credits, default=default.balance, help="prepaid credits at the start")
    parser.add_argument("--key", default=None, help="the only bearer key accepted; any, if not given")
    parser.add_argument("--public-base", default=None, help="base of the URLs handed out, e.g. http://emulator:8799")
    parser.add_argument("--kept-jobs", type=int, default=default.kept_jobs, help="jobs remembered at most")
    parser.add_argument("--quiet", action="store_true", help="no line for each request")
    return Options(**vars(parser.parse_args(arguments)))


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be greater than 0")
    return number


def _credits(text: str) -> decimal.Decimal:
    try:
        amount = decimal.Decimal(text)
    except decimal.InvalidOperation:
        raise argparse.ArgumentTypeError("must be a number of credits") from None
    if not amount.is_finite() or amount < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return amount
