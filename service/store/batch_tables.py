"""Tables of files and batches. What a batch has made is in `jobs`, under idempotency keys that follow from its name."""

import sqlalchemy as sa
from sqlalchemy import Column, Float, Integer, Table, Text

from service.store.schema import Number, metadata

files = Table(
    "files",
    metadata,
    Column("id", Number, primary_key=True),
    Column("name", Text, nullable=False, unique=True),  # public id
    Column("filename", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("bytes", Number, nullable=False),
    Column("sha256", Text, nullable=False),  # of the bytes, among the artifacts
    Column("created", Float, nullable=False),
    Column("owner", Text),
    sa.Index("files_sha256", "sha256"),
    sa.Index("files_owner", "owner", "id"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Number, primary_key=True),
    Column("name", Text, nullable=False, unique=True),  # public id
    Column("state", Text, nullable=False),
    Column("ending", Text),  # what a batch that is finalizing will be: completed, cancelled or expired
    Column("endpoint", Text, nullable=False),
    Column("window", Text, nullable=False),
    Column("input", Text, nullable=False),  # a file's public id, as the two below
    Column("output", Text),
    Column("error", Text),
    Column("faults", Text),  # why it was not begun, as JSON
    Column("labels", Text),  # metadata, as JSON
    Column("total", Integer, nullable=False, server_default="0"),
    Column("completed", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("times", Text, nullable=False, server_default="{}"),  # when it came to each state, as JSON
    Column("owner", Text),
    Column("key", Text),  # who pays
    sa.Index("batches_state", "state"),
    sa.Index("batches_owner", "owner", "id"),
)

OPEN = ("validating", "in_progress", "cancelling", "finalizing")
"""States from which a batch moves on by itself."""
