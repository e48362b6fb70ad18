"""``python -m workers``: one worker process. A mistake in the settings ends it with one line, exit status 2."""

import sys

import uvloop

from gateway import errors
from gateway.settings import values
from gateway.settings.values import Purpose
from gateway.telemetry import logs
from workers import process


def main() -> int:
    """Read the settings, then work until told to stop."""
    try:
        settings = values.read(Purpose.WORK)
        logs.configure(prompts=settings.log_prompts, hidden=settings.secrets())
        uvloop.run(process.run(settings))
    except errors.ToriiError as error:
        print(error.message, file=sys.stderr)  # noqa: T201  the one line that an operator reads
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
