"""Jobs that judge the answers of another job again."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column and its index."""
    op.add_column("jobs", sa.Column("rescores", sa.Text()))
    op.create_index("jobs_rescores", "jobs", ["rescores"])
