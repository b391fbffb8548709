"""Packed verdicts, audits, features, and the configuration of a job's judges"""

from itertools import groupby

import sqlalchemy as sa
from alembic import op

from search.ports import Score
from service.store.pools import packed

revision = "0003"
down_revision = "0002"

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Forward. Verdicts that are there are packed, so that jobs keep their curves."""
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
    _pack(op.get_bind())


def _pack(connection: sa.Connection) -> None:
    """One pool for each judge and item; several where samples are missing, so that each knows its samples."""
    columns = "judge, item, sample, value, passed, canonical"
    query = sa.text(f"select {columns} from scores order by judge, item, sample")  # noqa: S608 - ours
    rows = connection.execute(query, execution_options={"yield_per": 10_000})
    write = sa.text("insert into pools (judge, item, first, n, data) values (:judge, :item, :first, :n, :data)")
    numbered = enumerate(rows)
    for (judge, item, _), mine in groupby(numbered, lambda at: (at[1].judge, at[1].item, at[1].sample - at[0])):
        found = [row for _, row in mine]
        data = packed([Score(r.value, None if r.passed is None else bool(r.passed), None, r.canonical) for r in found])
        given = {"judge": judge, "item": item, "first": found[0].sample, "n": len(found), "data": data}
        connection.execute(write, given)


def downgrade() -> None:
    """Back."""
    for table in ("features", "audits", "pools"):
        op.drop_table(table)
    op.drop_index("judges_name", "judges")
    op.drop_column("judges", "config")
