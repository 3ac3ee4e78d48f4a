"""Alembic's entrance: runs the revisions on the connection that the store passes in, within its transaction."""

from __future__ import annotations

from alembic import context

from gateway.adapters.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
