"""What Alembic runs for each command: always on a connection that ``gateway.storage.schema`` hands over."""

from alembic import context

from gateway.storage import outbox, reuse_tables

#: Every module of tables declares into one collection; each that no other stands on is named here.
_DECLARED = (outbox.deliveries, reuse_tables.flights)

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=_DECLARED[0].metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
