"""Weights of particles, and previews as a currency"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Forward."""
    op.add_column("candidates", sa.Column("log_weight", sa.Float()))
    op.add_column("jobs", sa.Column("previews", Number, nullable=False, server_default="0"))
    op.create_table(
        "populations",
        sa.Column("job", Number, nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("particles", sa.Integer(), nullable=False),
        sa.Column("log_z", sa.Float()),
        sa.Column("ess", sa.Float(), nullable=False),
        sa.Column("ancestors", sa.Integer(), nullable=False),
        sa.Column("splits", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job", "item", "first"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Back."""
    op.drop_table("populations")
    op.drop_column("jobs", "previews")
    op.drop_column("candidates", "log_weight")
