"""What keys may spend, and have spent."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
CURRENCIES = ("evaluations", "tokens", "samples")


def upgrade() -> None:
    """Add the tables and the columns; what was submitted before was paid by nobody."""
    op.add_column("api_keys", sa.Column("quotas", sa.Text(), nullable=False, server_default="{}"))
    for table in ("jobs", "batches"):
        op.add_column(table, sa.Column("key", sa.Text()))
    op.create_table(
        "accounts",
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("day", sa.Integer(), primary_key=True),
        *(
            sa.Column(f"{kind}_{name}", Number, nullable=False, server_default="0")
            for kind in ("spent", "held")
            for name in CURRENCIES
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "holds",
        sa.Column("job", Number, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        *(sa.Column(f"each_{name}", sa.Float(), nullable=False) for name in CURRENCIES),
        sqlite_with_rowid=False,
    )
