"""Settings from the environment (WINNOW_...); command-line options override them."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.addresses import networks


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(BaseSettings):
    """Where things are. Documented in docs/settings.md; a test compares."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_", frozen=True)

    data_dir: Path = Field(default=Path("winnow-data"), description="Folder of database, queue and artifacts.")
    redis_url: str | None = Field(default=None, description="Redis or Valkey with AOF; embedded when unset.")
    database_url: str | None = Field(default=None, description="SQLAlchemy URL; SQLite in the data folder when unset.")
    artifacts_url: str | None = Field(
        default=None, description="fsspec URL for answers' bytes; data folder when unset."
    )
    lease_seconds: float = Field(default=60.0, gt=0, description="A worker silent for longer loses its shards.")
    checkpoint_seconds: float = Field(
        default=10.0, ge=0, description="A shard's searches are saved no more often than this, to go on elsewhere."
    )
    lanes: int | None = Field(
        default=None, ge=1, description="Calls at once on a worker's device; 1 GPU, or all cores."
    )
    endpoints: Path | None = Field(
        default=None, description="TOML file of models and verifiers that run elsewhere. From the environment alone."
    )
    language_models: str = Field(
        default="", description="What the model `language` may be: folders, GGUF files, hub ids, commas between."
    )
    image_models: str = Field(
        default="", description="What the model `diffusers` may load: folders, files, hub ids, commas between."
    )
    verifier_models: str = Field(
        default="", description="What verifiers may load: folders, files, hub ids, commas between; * for any."
    )
    programs: Literal["auto", "strict", "lite"] = Field(
        default="auto",
        description="Walls around programs: the best there are, or one tier. From the environment alone.",
    )
    window: int = Field(default=256, ge=1, description="Shards of one owner, model and lane in Redis at a time.")
    log: Literal["text", "json"] = Field(default="text", description="How log lines are written.")
    body_limit: int = Field(default=16 * 2**20, ge=1, description="Largest request body, in bytes.")
    file_limit: int = Field(default=200 * 2**20, ge=1, description="Largest upload of a batch file, in bytes.")

    webhook_networks: str = Field(
        default="", description="Networks (CIDR, commas between) that webhooks may reach beside public addresses."
    )
    webhook_tries: int = Field(default=8, ge=1, le=20, description="Attempts to deliver a webhook, at most.")
    webhook_pause: float = Field(
        default=5.0, gt=0, description="Seconds after the first attempt; after each other four times as long."
    )
    webhook_seconds: float = Field(default=10.0, gt=0, le=60, description="Seconds for one attempt.")

    @field_validator("webhook_networks")
    @classmethod
    def _networks(cls, text: str) -> str:
        networks(text)
        return text

    def lanes_of(self, workers: int) -> int:
        """Calls that each of so many workers on this machine may have on its device at once."""
        cores = core_count()
        return self.lanes or (1 if Path("/dev/nvidia0").exists() else max(1, cores // workers))

    @property
    def database(self) -> str:
        """SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'winnow.db'}"

    @property
    def artifacts(self) -> str:
        """fsspec URL in force."""
        return self.artifacts_url or str(self.data_dir.absolute() / "artifacts")
