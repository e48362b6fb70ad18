"""Databases that have the schema already, for tests to copy: bringing it there takes longer than most tests do."""

import subprocess

from tests.support.rig import TORII


def migrate(url: str) -> None:
    """Bring the schema to an empty database, as an operator does."""
    done = subprocess.run(
        [str(TORII), "migrate"],
        env={"TORII_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode != 0:
        raise AssertionError(f"torii migrate ended with {done.returncode}: {done.stderr.strip()}")
