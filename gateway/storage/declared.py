"""Every table of the house in one collection: whoever goes over all of them begins here. Declares and runs nothing.

A module of tables is part of the collection once it is imported; each that no other stands on is named here.
"""

from gateway.storage import (
    batch_tables,
    columns,
    erasure_tables,
    outbox,
    repeat_tables,
    reuse_tables,
    session_tables,
    upload_tables,
)

_MODULES = (batch_tables, erasure_tables, outbox, repeat_tables, reuse_tables, session_tables, upload_tables)

#: All of it.
metadata = columns.metadata
