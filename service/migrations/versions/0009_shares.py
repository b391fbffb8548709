"""Whose turn a shard takes."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column, and an index that finds the shards that wait for each turn."""
    op.add_column("shards", sa.Column("share", sa.Text(), nullable=False, server_default=""))
    op.drop_index("shards_waiting", "shards")
    op.create_index("shards_waiting", "shards", ["state", "model", "lane", "share", "number"])
