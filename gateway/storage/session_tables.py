"""The table of the console's sessions. Declares; runs nothing.

A row says who signed in; what a browser shows is kept as a digest alone.
"""

import sqlalchemy as sa

from gateway.storage.columns import ID, metadata, moment

#: A browser that is signed in. It ends with its key, with its time, or when somebody signs out: then the row goes.
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", ID, primary_key=True),
    #: Of the cookie's secret part, and the derived key that made it.
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("digest_key", sa.String(8), nullable=False),
    #: Whose session it is: a key's, or with none the holder's of the admin token that has this digest.
    sa.Column("key_id", ID, nullable=True),
    sa.Column("operator", sa.LargeBinary(32), nullable=True),
    moment("created_at"),
    #: When it was last used, to the minute.
    moment("seen_at"),
    moment("expires_at", index=True),
)
