"""Settings from the environment (WINNOW_...); command-line options override them."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where things are. Documented in docs/settings.md; a test compares."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_", frozen=True)

    data_dir: Path = Field(Path("winnow-data"), description="Folder of the embedded database, queue and artifacts.")
    redis_url: str | None = Field(None, description="Redis or Valkey with AOF; embedded when unset.")
    database_url: str | None = Field(None, description="SQLAlchemy URL; SQLite in the data folder when unset.")
    artifacts_url: str | None = Field(None, description="fsspec URL for answers' bytes; the data folder when unset.")
    lease_seconds: float = Field(60.0, gt=0, description="A worker silent for longer loses its shards.")
    window: int = Field(256, ge=1, description="Shards of one model and lane that are in Redis at a time, at most.")
    body_limit: int = Field(16 * 2**20, ge=1, description="Largest request body, in bytes.")

    @property
    def database(self) -> str:
        """SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'winnow.db'}"

    @property
    def artifacts(self) -> str:
        """fsspec URL in force."""
        return self.artifacts_url or str(self.data_dir.absolute() / "artifacts")
