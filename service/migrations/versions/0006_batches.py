"""Files and batches."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables, and the column that names them."""
    op.add_column("jobs", sa.Column("batch", Number))
    op.create_index("jobs_batch", "jobs", ["batch", "id"])
    op.create_table(
        "files",
        sa.Column("id", Number, primary_key=True),
        sa.Column("name", sa.Text(), nullable=False, unique=True),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("bytes", Number, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
    )
    op.create_index("files_sha256", "files", ["sha256"])
    op.create_table(
        "batches",
        sa.Column("id", Number, primary_key=True),
        sa.Column("name", sa.Text(), nullable=False, unique=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("ending", sa.Text()),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("output", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("faults", sa.Text()),
        sa.Column("labels", sa.Text()),
        *(
            sa.Column(name, sa.Integer(), nullable=False, server_default="0")
            for name in ("total", "completed", "failed")
        ),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.Column("times", sa.Text(), nullable=False, server_default="{}"),
    )
    op.create_index("batches_state", "batches", ["state"])
