"""Jobs that judge the answers of another job again; jobs that are deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the column, the index by which bytes are looked for, and the tables of what deleted jobs leave."""
    op.add_column("jobs", sa.Column("rescores", sa.Text()))
    op.create_index("jobs_rescores", "jobs", ["rescores"])
    some = sa.text("artifact IS NOT NULL")
    op.create_index("candidates_artifact", "candidates", ["artifact"], sqlite_where=some, postgresql_where=some)
    op.create_table("orphans", sa.Column("sha256", sa.Text(), primary_key=True), sqlite_with_rowid=False)
    op.create_table("deleted", sa.Column("job", Number, primary_key=True, autoincrement=False))
