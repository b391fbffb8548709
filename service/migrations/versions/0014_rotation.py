"""The secret before the last one, which signs beside it for a day."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the column."""
    op.add_column("webhook_secrets", sa.Column("previous", sa.Text()))
