"""Packed verdicts, audits, features, and the configuration of a job's judges"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Forward."""
    op.add_column("judges", sa.Column("config", sa.Text(), nullable=False, server_default="{}"))
    op.create_index("judges_name", "judges", ["name", "version"])
    op.create_table(
        "pools",
        sa.Column("judge", Number, nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("judge", "item", "first"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audits",
        sa.Column("judge", Number, nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("sample", sa.Integer(), nullable=False),
        sa.Column("right", sa.Boolean(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("judge", "item", "sample"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "features",
        sa.Column("job", Number, nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job", "item", "first"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Back."""
    for table in ("features", "audits", "pools"):
        op.drop_table(table)
    op.drop_index("judges_name", "judges")
    op.drop_column("judges", "config")
