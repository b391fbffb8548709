"""Tokens, and answers that could not be had."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the columns; what was drawn before counted no tokens and lost nothing."""
    for table in ("jobs", "items"):
        for name, kind in (
            ("tokens", Number),
            ("prompt_tokens", Number),
            ("unreported", sa.Integer()),
            ("lost", sa.Integer()),
        ):
            op.add_column(table, sa.Column(name, kind, nullable=False, server_default="0"))
    op.add_column("items", sa.Column("loss", sa.Text()))
    op.add_column("candidates", sa.Column("tokens", sa.Integer()))
