"""The least that a submission could cost: a FastAPI route that validates the same body and commits one SQLite row.

python -m bench.bare PORT DATABASE
"""

import sys
from typing import Any

import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI

from service.spec import JobSpec
from service.store import Store

metadata = sa.MetaData()
rows = sa.Table(
    "rows", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("spec", sa.Text, nullable=False)
)


def app_on(store: Store) -> FastAPI:
    """The bare app; its database has the same settings as the service's."""
    app = FastAPI()

    def insert(connection: sa.Connection, body: str) -> int:
        return connection.execute(sa.insert(rows).returning(rows.c.id), {"spec": body}).scalar_one()

    @app.post("/v1/jobs", status_code=202)
    def create(spec: JobSpec) -> dict[str, Any]:
        return {"id": store.write(insert, spec.model_dump_json())}

    return app


def main() -> None:
    """Serve until killed."""
    store = Store(f"sqlite:///{sys.argv[2]}")
    with store.writing() as connection:
        metadata.create_all(connection)
    uvicorn.run(app_on(store), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
