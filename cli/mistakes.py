"""What a user sees of a mistake: one line on stderr that names the thing and the way out, or the same as JSON.

Chooses the exit status: a failure's own, else 2 for a wrong command line or setting and 1 for everything else. Knows
no command.
"""

import sys

import typer

from cli import screen
from cli.failures import Failure
from gateway import errors


def report(error: errors.ToriiError | Failure | typer.TyperException | OSError, *, as_json: bool) -> int:
    """Write the one line; returns the exit status. An ``OSError`` that names no file is a bug, and raised again."""
    match error:
        case Failure():
            return _say(error.code, error.message, error.param, as_json=as_json, status=error.status)
        case errors.SettingError():
            return _say(error.code, error.message, error.param, as_json=as_json, status=2)
        case errors.ToriiError():
            return _say(error.code, error.message, error.param, as_json=as_json, status=1)
        case typer.TyperException():
            return _usage(error, as_json=as_json)
    if error.filename is None:
        raise error
    reason = error.strerror or type(error).__name__
    return _say("file_error", f"{error.filename}: {reason}", None, as_json=as_json, status=1)


def _usage(error: typer.TyperException, *, as_json: bool) -> int:
    message = " ".join(error.format_message().split()).rstrip(".")
    if not message:
        return 2  # a group without a command: its help was shown
    context = getattr(error, "ctx", None)
    way_out = f" (see: {context.command_path} --help)" if context is not None else ""
    return _say("usage_error", message + way_out, None, as_json=as_json, status=error.exit_code)


def _say(code: str, message: str, param: str | None, *, as_json: bool, status: int) -> int:
    if as_json:
        sys.stderr.write(screen.encode({"error": {"code": code, "message": message, "param": param}}) + "\n")
    else:
        console = screen.console(stderr=True)
        console.print("torii:", screen.plain(" ".join(message.split())), style="red", soft_wrap=True)
    return status
