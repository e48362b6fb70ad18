"""Runs a command that ends when its starter does, however that ends: ``python leash.py STARTER SIGNAL COMMAND …``.

A small script of its own, so that nothing of ours runs between a fork and an exec. Linux tells a process when its
parent is gone; where the system cannot, the command simply runs. Imports nothing of ours.
"""

import ctypes
import os
import sys

#: From linux/prctl.h; exec keeps it.
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Become the command; never returns."""
    starter, number, *command = arguments
    if sys.platform == "linux":
        # The signal that also stops it in order: a worker may be in the middle of a paid POST.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != int(starter):
            sys.exit(1)  # it went before it could be watched
    os.execvp(command[0], command)  # noqa: S606  no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
