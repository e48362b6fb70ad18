"""Writes every dashboard where Grafana's provisioning finds it, and takes away what is none any more."""

from pathlib import Path

from deploy.grafana.build import boards, render

FOLDER = Path(__file__).resolve().parents[1] / "dashboards"


def main() -> None:
    """Write the files."""
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for board in boards.ALL:
        (FOLDER / boards.file_name(board)).write_text(render.text(board))


if __name__ == "__main__":
    main()
