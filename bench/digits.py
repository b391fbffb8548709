"""Class accuracy of the digits models, alone and under best of n.

    python -m bench.digits digits [--per-class 100] [--steps 10] [--best-of 8] [--eta 0] [--guidance 1]

MODEL is a built-in name, or the path of a checkpoint that `generators.training.digits` wrote. The first image of each
search gives the accuracy; with `--best-of`, the one that `--judge` likes best among the first 1, 2, 4, ... gives the
others. `--grader`, which the search never sees, decides whether an image is the asked digit. Prints one JSON object;
intervals are Wilson's, 95 %.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from generators.builtin import GENERATORS
from generators.diffusion import Diffusion
from generators.digits import model
from search import keys
from search.ports import Answer, Generator, Item, Rows
from service.curves.imperfect import wilson
from verifiers.builtin import VERIFIERS

BATCH = 64


def interval(right: int, n: int) -> list[float]:
    """95 % interval of a proportion (Wilson), to four places."""
    return [round(end, 4) for end in wilson(right, n)]


def build(name: str, steps: int, eta: float, guidance: float) -> Generator:
    """The model by name, or from a checkpoint's path."""
    if name.endswith(".safetensors"):
        weights = str(Path(name).resolve()).removesuffix(".safetensors")
        return Diffusion(model(weights), lambda item: int(item.prompt), steps, eta, guidance)
    found = GENERATORS.find(name)
    guided = {} if guidance == 1 else {"guidance": guidance}
    return found.factory(found.config.model_validate({"steps": steps, "eta": eta, **guided}))


def draw(generator: Generator, items: list[Item], each: int, seed: int) -> list[Any]:
    """`each` images of every item, in order of item."""
    names = np.concatenate([keys.rows(keys.problem(seed, item.id), 0, each) for item in items])
    asked = [item for item in items for _ in range(each)]
    images: list[Any] = []
    for first in range(0, len(asked), BATCH):
        rows: Rows = generator.start(asked[first : first + BATCH], names[first : first + BATCH])
        while not rows.done.all():
            rows = generator.advance(rows)
        images += generator.finish(rows)
    return images


def verifier(name: str) -> Any:
    """The verifier of that name, in its default configuration."""
    found = VERIFIERS.find(name)
    return found.factory(found.config())


def judged(verify: Any, images: list[Any], items: list[Item], each: int) -> list[Any]:
    """Scores by one verifier, [items][each]."""
    asked = [item for item in items for _ in range(each)]
    scores = verify([Answer(image, item) for image, item in zip(images, asked, strict=True)])
    return [scores[first : first + each] for first in range(0, len(scores), each)]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The JSON object that is printed."""
    items = [
        Item(id=f"{digit}-{i}", prompt=str(digit), target=digit)
        for digit in range(10)
        for i in range(options.per_class)
    ]
    judge, grader = verifier(options.judge), verifier(options.grader)  # a missing one is noticed before the drawing
    generator = build(options.model, options.steps, options.eta, options.guidance)
    images = draw(generator, items, options.best_of, options.seed)
    grades = judged(grader, images, items, options.best_of)
    result: dict[str, Any] = {k: v for k, v in vars(options).items() if k not in ("best_of", "judge")}
    right = sum(bool(g[0].passed) for g in grades)
    result |= {"images": len(items), "accuracy": right / len(items), "interval": interval(right, len(items))}
    per_digit = np.array([bool(g[0].passed) for g in grades]).reshape(10, -1).mean(1)
    result["accuracy_of_each_digit"] = per_digit.round(4).tolist()
    if options.best_of > 1:
        scores = judged(judge, images, items, options.best_of)
        result |= {"judge": options.judge, "best_of": best_of(scores, grades)}
    return result


def best_of(scores: list[Any], grades: list[Any]) -> dict[int, dict[str, Any]]:
    """Accuracy of the best-scored image among the first 1, 2, 4, ... of each item."""
    found: dict[int, dict[str, Any]] = {}
    n = 1
    while n <= len(scores[0]):
        best = [max(range(n), key=lambda i, mine=mine: mine[i].value) for mine in scores]
        right = sum(bool(grade[i].passed) for grade, i in zip(grades, best, strict=True))
        found[n] = {"accuracy": right / len(scores), "interval": interval(right, len(scores))}
        n *= 2
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a built-in name, or a checkpoint's path ending in .safetensors")
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--eta", type=float, default=0.0)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--best-of", type=int, default=1, help="images of each item")
    parser.add_argument("--judge", default="digit_classifier_b", help="verifier that the search sees")
    parser.add_argument("--grader", default="ccexam", help="verifier that it never sees")
    parser.add_argument("--seed", type=int, default=0)
    print(json.dumps(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
