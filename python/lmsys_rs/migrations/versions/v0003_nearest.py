"""The nearest cluster of texts in none; which share of the true neighbors a graph holds."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From 0002 to 0003; what older runs and graphs did not tell stays null."""
    op.execute("ALTER TABLE membership ADD COLUMN nearest_id INTEGER")
    op.execute("ALTER TABLE graph ADD COLUMN recall FLOAT")


def downgrade() -> None:
    """From 0003 to 0002."""
    op.execute("ALTER TABLE graph DROP COLUMN recall")
    op.execute("ALTER TABLE membership DROP COLUMN nearest_id")
