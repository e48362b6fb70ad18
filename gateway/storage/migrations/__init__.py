"""Alembic's scripts: how the schema came to be, one step a file. Steps of one release only add."""
