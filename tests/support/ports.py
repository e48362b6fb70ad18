"""Finds loopback ports that nobody listens on. Never hands the same port out twice within one call."""

import contextlib
import socket

LOOPBACK = "127.0.0.1"


def free(count: int = 1) -> list[int]:
    """Return `count` different loopback TCP ports that were free a moment ago."""
    with contextlib.ExitStack() as held:
        listeners = [held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) for _ in range(count)]
        for listener in listeners:
            listener.bind((LOOPBACK, 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


def free_one() -> int:
    """Return one loopback TCP port that was free a moment ago."""
    return free()[0]


def answers(port: int, timeout_s: float = 1.0) -> bool:
    """Tell whether anything accepts a TCP connection on this loopback port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout_s):
            return True
    except OSError:
        return False
