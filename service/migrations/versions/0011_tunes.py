"""Presets of samplers, and the searches that find them."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "presets",
        sa.Column("id", Number, primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("unique_name", sa.Text(), nullable=False, unique=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("tune", sa.Text()),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("owner", sa.Text()),
    )
    op.create_index("presets_owner", "presets", ["owner", "id"])
    op.create_table(
        "tunes",
        sa.Column("id", Number, primary_key=True),
        sa.Column("name", sa.Text(), nullable=False, unique=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("preset", sa.Text(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("idempotency_key", sa.Text(), unique=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("key", sa.Text()),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("finished", sa.Float()),
    )
    op.create_index("tunes_state", "tunes", ["state"])
    op.create_index("tunes_owner", "tunes", ["owner", "id"])
    op.create_table(
        "trials",
        sa.Column("tune", Number, primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer()),
        sa.Column("genes", sa.Text(), nullable=False),
        sa.Column("job", sa.Text()),
        sa.Column("value", sa.Float()),
        sa.Column("reason", sa.Text()),
        sa.Column("evaluations", Number),
        sqlite_with_rowid=False,
    )
