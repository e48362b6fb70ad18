"""What Alembic runs for each command: always on a connection that ``gateway.storage.schema`` hands over."""

from alembic import context

from gateway.storage import declared

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=declared.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
