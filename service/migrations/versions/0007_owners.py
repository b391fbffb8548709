"""API keys, and whose a job, a file or a batch is."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the table and the columns; what was there before is nobody's, and only an admin sees it."""
    op.create_table(
        "api_keys",
        sa.Column("id", Number, primary_key=True),
        sa.Column("name", sa.Text(), nullable=False, unique=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("rate", sa.Integer()),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float()),
        sa.Column("revoked", sa.Float()),
    )
    for table in ("jobs", "files", "batches"):
        op.add_column(table, sa.Column("owner", sa.Text()))
        op.create_index(f"{table}_owner", table, ["owner", "id"])
