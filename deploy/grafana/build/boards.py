"""Every dashboard, and the file each is written to."""

from typing import Final

from deploy.grafana.build import archive, jobs, overview, teams, upstream
from deploy.grafana.build.panel import Board

ALL: Final = (overview.BOARD, teams.BOARD, upstream.BOARD, jobs.BOARD, archive.BOARD)


def file_name(board: Board) -> str:
    """The file of a board in ``deploy/grafana/dashboards``."""
    return f"{board.uid}.json"
