"""How a workspace of an older version becomes one of this version: Alembic scripts, run when a workspace is opened."""
