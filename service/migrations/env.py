"""Alembic's environment: migrations run on the connection that `Store.migrate` opened."""

from alembic import context

from service.store import access, batch_tables  # noqa: F401  (their tables are of the same metadata)
from service.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
context.run_migrations()
