"""/v1/images/generations: a prompt becomes a job of one item, its best images the reply."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field, JsonValue

from generators.builtin import GENERATORS
from search.configs import ModelConfig
from search.ports import Item
from service.api.doors.replies import Ended, Unanswered, created, reply
from service.api.doors.requests import Asked
from service.artifacts import Artifacts, Bytes
from service.catalog import Invalid, Prepared
from service.checks import listed
from service.store import Store, blobs
from service.views.doors import ChatCompletion, ImageData, ImagesReply, ImagesSearched, TextCompletion

DRAWS = "draws_images"


class Images(Asked):
    """Body of /v1/images/generations."""

    only: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "quality": (None, "auto", "standard"),
        "style": (None,),
        "background": (None, "auto", "opaque"),
        "moderation": (None, "auto"),
        "output_format": (None, "png"),
        "output_compression": (None, 100),
        "partial_images": (None, 0),
        "stream": (False,),
    }

    prompt: str = Field(max_length=100_000)
    response_format: Literal["url", "b64_json"] = Field("url", description="An artifact's address, or its bytes.")
    size: str | None = Field(
        None, pattern=r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$", description="Width x height in pixels; or auto."
    )
    quality: JsonValue = None
    style: JsonValue = None
    background: JsonValue = None
    moderation: JsonValue = None
    output_format: JsonValue = None
    output_compression: JsonValue = None
    partial_images: JsonValue = None

    @property
    def sides(self) -> tuple[int, int] | None:
        """Height and width; None where any would do."""
        if self.size in (None, "auto"):
            return None
        width, _, height = str(self.size).partition("x")
        return int(height), int(width)

    def settings(self) -> dict[str, Any]:
        """The size, for a model that has a setting for it."""
        try:
            sizes = "size" in GENERATORS.find(self.model).config.model_fields
        except Exception:  # `prepare` says what is wrong
            return {}
        return {"size": list(self.sides)} if self.sides and sizes else {}

    def items(self, chats: bool) -> list[Item]:
        """The prompt."""
        return [Item(prompt=self.prompt)]

    def prepared(self, items: list[dict[str, Any]], seed: int, more: dict[str, Any]) -> Prepared:
        """The job, of a model that draws images of this size. Raises Invalid."""
        found = super().prepared(items, seed, more)
        if DRAWS not in found.model.plugin.facts.offers:
            message = f"{self.model!r} draws no images; models that do: {listed(drawing())}"
            raise Invalid([{"loc": ["model"], "msg": message}])
        if self.sides and not self.settings():
            assert isinstance(found.model.config, ModelConfig)
            offered = found.model.config.picture
            if offered != self.sides:
                valid = "auto" if offered is None else f"auto, {offered[1]}x{offered[0]}"
                message = f"size {self.size!r} is not offered by {self.model!r}; valid: {valid}"
                raise Invalid([{"loc": ["size"], "msg": message}])
        return found


def drawing() -> list[str]:
    """Models whose answers are images."""

    def draws(name: str) -> bool:
        try:
            return DRAWS in GENERATORS.find(name).facts.offers
        except Exception:  # of another distribution, that cannot be loaded
            return False

    return [name for name in GENERATORS.names() if draws(name)]


@dataclass(frozen=True)
class Gallery:
    """Where the bytes of images are. base: in front of their addresses."""

    store: Store
    artifacts: Artifacts
    base: str = ""

    def bytes_of(self, sha256: str) -> Bytes | None:
        """The bytes of that name."""
        return self.store.read(blobs.find, sha256) or self.artifacts.get(sha256)


def images(asked: Images, ended: Ended, gallery: Gallery) -> ImagesReply:
    """Reply to a request for images. Raises Unanswered."""
    chosen = [best.artifact for _, best in ended.chosen()]
    (found,), judges = ended.searched(), [ref.label or ref.name for ref in asked.search.verifiers]
    return ImagesReply(
        created=created(ended),
        data=[_data(asked, ended, artifact, gallery) for artifact in chosen],
        search=ImagesSearched(
            **found.model_dump(),
            method=asked.search.method,
            verifiers=judges or ["any"],
            usage=None if ended.part else ended.job.usage,
        ),
    )


def _data(asked: Images, ended: Ended, artifact: str | None, gallery: Gallery) -> ImageData:
    held = None if artifact is None else gallery.bytes_of(artifact)
    if artifact is None or held is None or held.media != "image/png":
        raise Unanswered(502, "no_image", f"an answer of job {ended.job.id} is no image")
    if asked.response_format == "url":
        return ImageData(url=f"{gallery.base}/v1/artifacts/{artifact}")
    return ImageData(b64_json=base64.b64encode(held.data).decode())


def replied(asked: Asked, ended: Ended, gallery: Gallery) -> ChatCompletion | TextCompletion | ImagesReply:
    """To a request of any kind. Raises Unanswered."""
    return images(asked, ended, gallery) if isinstance(asked, Images) else reply(asked, ended)
