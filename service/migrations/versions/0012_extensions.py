"""Jobs that go on."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add what a job was before it was extended, and the requests that extended it."""
    op.add_column("jobs", sa.Column("extended", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("worked", sa.Float(), nullable=False, server_default="0"))
    op.create_table(
        "extensions",
        sa.Column("job", Number, primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.UniqueConstraint("job", "idempotency_key"),
    )
