"""What Alembic runs: the migrations, on the connection that `lmsys_rs.store` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from lmsys_rs.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()
