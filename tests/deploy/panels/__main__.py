"""``make panels``: play a run, ask the dashboards' queries of it, draw a picture of each dashboard. Tests nothing.

``--keep FILE`` writes down what was answered, ``--answers FILE`` draws that again without a run.
"""

import argparse
import asyncio
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Final

import msgspec

from tests.deploy import grafana
from tests.deploy.panels import picture, play
from tests.deploy.panels.answers import Played
from tests.support import tree

FOLDER: Final = tree.ROOT / "docs" / "dashboards"


def main() -> None:
    """Play or read, then draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=Path, help="draw what an earlier run kept")
    parser.add_argument("--keep", type=Path, help="keep what Prometheus answered in this file")
    asked = parser.parse_args()
    warnings.simplefilter("error")
    found = msgspec.json.decode(asked.answers.read_bytes(), type=Played) if asked.answers else _play()
    if asked.keep:
        asked.keep.write_bytes(msgspec.json.encode(found))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.webp"):
        old.unlink()
    for uid, board in grafana.shipped().items():
        picture.drawn(board, found.boards.get(uid, {}), found.period).save(FOLDER / f"{uid}.webp")
    size = sum(file.stat().st_size for file in FOLDER.iterdir())
    sys.stdout.write(f"{len(list(FOLDER.iterdir()))} pictures, {size / 1e3:.0f} kB, in {FOLDER}\n")


def _play() -> Played:
    with tempfile.TemporaryDirectory(prefix="torii-panels-") as folder:
        return asyncio.run(play.played(Path(folder)))


if __name__ == "__main__":
    main()
