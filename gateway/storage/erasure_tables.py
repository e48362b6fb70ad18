"""The tables of what is not kept: objects that are still to go from the archive, and how long a team keeps things.

Declares; runs nothing. What is erased of a job is said in its own row (``tables.jobs``).
"""

from enum import StrEnum

import sqlalchemy as sa

from gateway.storage import tables
from gateway.storage.columns import ID, count, metadata, moment


class Kind(StrEnum):
    """What an erasure is about."""

    #: An object that a row named, and what lies beside it, unless another row names it still.
    PICTURE = "picture"
    #: The JSON beside a picture, in any case: it tells the prompt and the team.
    SIDECAR = "sidecar"
    #: Where a picture may lie that no row ever named: its worker died between the two.
    LEFTOVER = "leftover"
    #: The object of an upload that no row names, or that none may ever come to name.
    UPLOAD = "upload"


class Cause(StrEnum):
    """Why something is erased."""

    #: Somebody asked for it.
    REQUEST = "request"
    #: Its team keeps things for so long and no longer.
    RETENTION = "retention"


#: One row an object that shall not be in the archive any more, written in the transaction that made it so.
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("id", ID, primary_key=True),
    #: No foreign keys: nothing that is locked shall wait for a row that is only to be swept away.
    sa.Column("team_id", ID, nullable=False),
    sa.Column("job_id", ID, nullable=False),
    #: ``picture``, with what lies beside it, unless another job shows it still; ``sidecar`` in any case.
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("object_key", sa.String(400), nullable=False),
    #: ``request`` or ``retention``.
    sa.Column("cause", sa.String(16), nullable=False),
    moment("created_at"),
    moment("due_at", index=True),
    #: When it was deleted; it may be looked for once more.
    moment("done_at", nullable=True),
    #: How often it is still to be deleted.
    sa.Column("passes", sa.Integer, nullable=False, server_default="1"),
    count("tries"),
)

#: How long a team keeps what its ended jobs were made from and what they made; none where it has no row: for ever.
retention = sa.Table(
    "retention",
    metadata,
    sa.Column("team_id", sa.ForeignKey(tables.teams.c.id), primary_key=True),
    sa.Column("pictures_days", sa.Integer, nullable=True),
    sa.Column("prompts_days", sa.Integer, nullable=True),
)
