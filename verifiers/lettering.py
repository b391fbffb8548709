"""What is written in an image, against what should be: optical character recognition on this machine."""

import threading
from typing import Any

import numpy as np
from pydantic import Field

from search.plugins import plugin
from search.ports import Answer, Config, Item, Score, Verifier
from verifiers.each import Unreadable, each, text
from verifiers.images.measures import edit_similarity
from verifiers.images.reading import coloured

ADVICE = (
    "verifier 'ocr_match' needs rapidocr-onnxruntime==1.4.4, installed with --no-deps beside opencv-python-headless, "
    "pyclipper and shapely (extra `ocr`)"
)


class Lettering(Config):
    """How texts are compared."""

    casefold: bool = Field(default=True, description="Ignore the difference of capitals and small letters.")
    spaces: bool = Field(default=False, description="White space counts; several blanks are one.")

    def canonical(self, said: str) -> str:
        """The text that is compared."""
        words = said.casefold().split() if self.casefold else said.split()
        return (" " if self.spaces else "").join(words)

    def wanted(self, item: Item) -> str:
        """The text that should be read: the item's target, else its prompt. Raises Unreadable, a ValueError."""
        found = self.canonical(item.asked if item.target is None else text(item.target))
        if not found:
            raise Unreadable(f"item {item.id!r} names no text to be read: give a target, or a prompt that is the text")
        return found

    def check(self, item: Item) -> None:
        self.wanted(item)


class Reader(threading.local):
    """An engine for each thread: it keeps state while it reads."""

    def __init__(self) -> None:
        try:
            from rapidocr_onnxruntime import RapidOCR
        except ImportError as error:
            raise ImportError(ADVICE) from error
        self.engine: Any = RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)

    def read(self, value: Any) -> str:
        """The lines of an image from top to bottom, with a blank between. Raises Unreadable for what is no image."""
        found, _ = self.engine(np.ascontiguousarray(coloured(value)[..., ::-1]))  # it takes blue, green, red
        return " ".join(line for _, line, _ in found or ())


@plugin(version="1", place="device")
def ocr_match(config: Lettering) -> Verifier:
    """1 - edit distance / length of the longer, of the text that is read and the text that was wanted."""
    reader = Reader()

    def judge(answer: Answer) -> Score:
        wanted, said = config.wanted(answer.item), reader.read(answer.value)
        read = config.canonical(said)
        return Score(edit_similarity(read, wanted), read == wanted, f"read {said[:500]!r}", read[:500] or None)

    return each(judge)
