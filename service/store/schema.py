"""The tables. SQL is the truth: losing all of Redis loses no job."""

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Float, Integer, MetaData, Table, Text

metadata = MetaData()
Number = sa.BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only INTEGER keys up by itself

jobs = Table(
    "jobs",
    metadata,
    Column("id", Number, primary_key=True),
    Column("name", Text, nullable=False, unique=True),  # public id
    Column("state", Text, nullable=False),
    Column("stop_reason", Text),
    Column("error", Text),
    Column("spec", Text, nullable=False),
    Column("budget", Text, nullable=False),  # the spec's, as JSON: lists of jobs show it and read no spec
    Column("model", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("idempotency_key", Text, unique=True),
    Column("batch", Number),  # whose lines it answers
    Column("owner", Text),  # of the key that made it; null without keys
    Column("key", Text),  # its public id: who pays
    Column("webhook", Text),  # whom to tell when it ends
    Column("rescores", Text),  # public id of the job whose answers it judges again
    Column("digest", Text, nullable=False),  # SHA-256 of the spec: the same key with another body is refused
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
    Column("extended", Integer, nullable=False, server_default="0"),  # how often
    Column("worked", Float, nullable=False, server_default="0"),  # seconds that it ran before it was last extended
    Column("items", Integer, nullable=False),
    Column("items_done", Integer, nullable=False, default=0),
    Column("items_failed", Integer, nullable=False, default=0),
    Column("shards", Integer, nullable=False),
    Column("shards_done", Integer, nullable=False, default=0),
    Column("candidates", Integer, nullable=False, default=0),
    Column("unscored", Integer, nullable=False, default=0),
    Column("evaluations", Number, nullable=False, default=0),
    Column("previews", Number, nullable=False, server_default="0"),
    Column("verifier_calls", Number, nullable=False, default=0),
    Column("verifier_seconds", Float, nullable=False, default=0.0),
    Column("tokens", Number, nullable=False, server_default="0"),
    Column("prompt_tokens", Number, nullable=False, server_default="0"),
    Column("unreported", Integer, nullable=False, server_default="0"),  # answers whose tokens the server did not tell
    Column("lost", Integer, nullable=False, server_default="0"),  # answers that could not be had
    sa.Index("jobs_state", "state"),
    sa.Index("jobs_batch", "batch", "id"),
    sa.Index("jobs_owner", "owner", "id"),
    sa.Index("jobs_rescores", "rescores"),
)

items = Table(
    "items",
    metadata,
    Column("job", Number, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("stop_reason", Text),
    Column("error", Text),
    Column("shards_left", Integer, nullable=False),
    Column("drawn", Integer, nullable=False, default=0),
    Column("evaluations", Number, nullable=False, default=0),
    Column("tokens", Number, nullable=False, server_default="0"),
    Column("prompt_tokens", Number, nullable=False, server_default="0"),
    Column("unreported", Integer, nullable=False, server_default="0"),
    Column("lost", Integer, nullable=False, server_default="0"),
    Column("loss", Text),  # why the first of these could not be had
    sqlite_with_rowid=False,
)

shards = Table(
    "shards",
    metadata,
    Column("id", Number, primary_key=True),
    Column("job", Number, nullable=False),
    Column("number", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("share", Text, nullable=False, server_default=""),  # its owner's, who has a turn like any other
    Column("spans", Text, nullable=False),
    Column("state", Text, nullable=False),  # pending, queued, running, done, failed, cancelled
    Column("attempt", Integer, nullable=False, default=0),  # the fence: every claim has a new one
    Column("deaths", Integer, nullable=False, default=0),  # claims that ended without a word, or with an error
    Column("message", Text),  # the Redis message whose holder may work on it
    Column("worker", Text),
    Column("changed", Float, nullable=False),
    Column("error", Text),
    sa.Index("shards_waiting", "state", "model", "lane", "share", "number"),
    sa.Index("shards_job", "job"),
)

candidates = Table(
    "candidates",
    metadata,
    Column("job", Number, primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("sample", Integer, primary_key=True),
    Column("key", Text, nullable=False),  # names all the noise of this answer
    Column("answer", Text),  # JSON, when small
    Column("artifact", Text),  # SHA-256 of the bytes otherwise: in `blobs`, or among the artifacts
    Column("evaluations", Integer, nullable=False),
    Column("log_weight", Float),  # of a weighted particle; null is no weight, or weight zero
    Column("tokens", Integer),  # generated; null: none are counted, or nobody has told
    sa.Index(
        "candidates_artifact",
        "artifact",
        sqlite_where=sa.text("artifact IS NOT NULL"),
        postgresql_where=sa.text("artifact IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

populations = Table(  # one run of a method that keeps weights
    "populations",
    metadata,
    Column("job", Number, primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("first", Integer, primary_key=True),  # its first sample
    Column("particles", Integer, nullable=False),
    Column("log_z", Float),  # null: every weight is zero
    Column("ess", Float, nullable=False),
    Column("ancestors", Integer, nullable=False),  # distinct rows of the first generation that have descendants
    Column("splits", Text, nullable=False),  # resamplings as JSON: [step, ess, parents]
    sqlite_with_rowid=False,
)

judges = Table(
    "judges",
    metadata,
    Column("id", Number, primary_key=True),
    Column("job", Number, nullable=False),
    Column("place", Integer, nullable=False),
    Column("role", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("config", Text, nullable=False, server_default="{}"),  # the plug-in's own, with its threshold, as JSON
    sa.UniqueConstraint("job", "label", "version"),
    sa.Index("judges_name", "name", "version"),
)

scores = Table(
    "scores",
    metadata,
    Column("judge", Number, primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("sample", Integer, primary_key=True),
    Column("value", Float),  # null is unscored, with the reason
    Column("passed", Boolean),
    Column("reason", Text),
    Column("canonical", Text),
    Column("ms", Float, nullable=False),
    sqlite_with_rowid=False,
)

tallies = Table(  # running counts of (judge, item): curves read these and never scan
    "tallies",
    metadata,
    Column("judge", Number, primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("scored", Integer, nullable=False),
    Column("passed", Integer, nullable=False),
    Column("unscored", Integer, nullable=False),
    Column("first_pass", Integer),  # lowest sample that passed
    sqlite_with_rowid=False,
)

pools = Table(  # the verdicts of one search, packed as columns (see store/pools.py): curves read these and never scan
    "pools",
    metadata,
    Column("judge", Number, primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("first", Integer, primary_key=True),
    Column("n", Integer, nullable=False),
    Column("data", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

audits = Table(  # what a person says of an answer, against which its judge is measured
    "audits",
    metadata,
    Column("judge", Number, primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("sample", Integer, primary_key=True),
    Column("right", Boolean, nullable=False),
    Column("at", Float, nullable=False),
    sqlite_with_rowid=False,
)

features = Table(  # where the answers of one search lie in the job's feature space, float16 [n, d]
    "features",
    metadata,
    Column("job", Number, primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("first", Integer, primary_key=True),
    Column("n", Integer, nullable=False),
    Column("data", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

blobs = Table(  # small bytes that answers name: they come with the rows that name them, or not at all
    "blobs",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("suffix", Text, nullable=False),
    Column("data", sa.LargeBinary, nullable=False),
)

extensions = Table(  # requests that extended a job: the same one again changes nothing
    "extensions",
    metadata,
    Column("job", Number, primary_key=True),
    Column("number", Integer, primary_key=True),  # from 1
    Column("idempotency_key", Text),
    Column("digest", Text, nullable=False),  # SHA-256 of the request
    Column("at", Float, nullable=False),
    sa.UniqueConstraint("job", "idempotency_key"),
    sqlite_with_rowid=False,
)

events = Table(
    "events",
    metadata,
    Column("id", Number, primary_key=True),
    Column("job", Number, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("at", Float, nullable=False),
    sa.Index("events_job", "job", "id"),
)

orphans = Table(  # names of bytes that a deleted job has named: to be removed if nobody else does
    "orphans",
    metadata,
    Column("sha256", Text, primary_key=True),
    sqlite_with_rowid=False,
)

deleted = Table(  # ids of deleted jobs: SQLite would give the last one again, which workers know by its id
    "deleted",
    metadata,
    Column("job", Number, primary_key=True, autoincrement=False),
)

TERMINAL = ("completed", "failed", "cancelled", "expired")
