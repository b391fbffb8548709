"""Random pipelines for tests, and rows on them."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from generators.pictures import Pictures
from search import keys
from search.ports import Item, Rows

Made = Callable[[str], Path]
Make = Callable[..., Any]
QUIET = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
KEYS = keys.rows(keys.problem(0, "pipelines"), 0, 4)
ITEMS = [Item(prompt=prompt) for prompt in ("a red fox", "a blue cup", "a red fox", "7")]


def configured(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Pictures:
    """Of the pipeline in a folder; the operator allows what the settings name."""
    named = [str(folder), str(settings.get("preview", "")), *(lora["path"] for lora in settings.get("loras", ()))]
    monkeypatch.setenv("WINNOW_IMAGE_MODELS", ",".join(filter(None, named)))
    size = (32, 32) if folder.name in ("sana", "wan") else (16, 16)
    return Pictures.model_validate({"path": str(folder), "size": size, "steps": 3} | settings)


def run(generator: Any, rows: Rows) -> Rows:
    """The rows at their end."""
    while not rows.done.all():
        live = np.flatnonzero(~rows.done)
        rows = rows.updated(live, generator.advance(rows[live]))
    return rows


PIXELS = np.random.default_rng(3).integers(0, 256, (16, 16, 3), np.uint8)
HOLE = np.zeros((16, 16), np.uint8)
HOLE[4:12, 6:9] = 255


def png(pixels: Any, kind: str = "PNG") -> str:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return base64.b64encode(out.getvalue()).decode()


PICTURE = Item(prompt="a red fox", image=png(PIXELS))
HOLED = Item(prompt="a red fox", image=f"data:image/png;base64,{png(PIXELS)}", mask=png(HOLE))
