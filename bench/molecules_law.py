"""What the model `molecules` draws, beside its data: validity, uniqueness, novelty and histograms of properties.

    python -m bench.molecules_law molsets-0.3.1-py3-none-any.whl [--count 1000] [--out FOLDER]

Valid: RDKit reads it. Unique: distinct canonical SMILES among the valid. Novel: those of them that are not in the MOSES
training set (compared as canonical SMILES). Histograms: QED, SA, logP and molecular weight of the drawn and of as many
molecules of the MOSES test set; `distance` is Wasserstein's, in the property's unit. Intervals are Wilson's, 95 %.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wasserstein_distance

from bench.printed import pictured
from generators.builtin import GENERATORS
from generators.training.moses import smiles
from search import keys
from search.ports import Floats, Item
from service.curves.imperfect import wilson
from verifiers.each import Unreadable
from verifiers.molecules import read

EDGES = {"qed": np.linspace(0, 1, 21), "sa": np.linspace(1, 8, 29), "logp": np.linspace(-6, 8, 29),
         "weight": np.linspace(0, 500, 26)}  # fmt: skip


def drawn(count: int, batch: int = 100, **config: Any) -> list[str]:
    """Answers of the model."""
    found = GENERATORS.find("molecules")
    generator, out = found.factory(found.config(**config)), list[str]()
    for first in range(0, count, batch):
        rows = generator.start([Item()] * batch, keys.rows(keys.problem(0, "law"), first, batch))
        while not rows.done.all():
            rows = generator.advance(rows)
        out += generator.finish(rows)
    return out


def properties(molecules: Sequence[Any]) -> dict[str, Floats]:
    """QED, SA, logP and weight of RDKit's molecules."""
    from importlib import import_module

    from rdkit.Chem import QED

    chem: Any = {name: import_module(f"rdkit.Chem.{name}") for name in ("Crippen", "Descriptors")}
    sascorer: Any = import_module("rdkit.Contrib.SA_Score.sascorer")
    of = {
        "qed": QED.qed,
        "sa": sascorer.calculateScore,
        "logp": chem["Crippen"].MolLogP,
        "weight": chem["Descriptors"].MolWt,
    }
    return {name: np.array([function(molecule) for molecule in molecules]) for name, function in of.items()}


def readable(molecules: Sequence[str]) -> list[Any]:
    """What RDKit reads: (mol, canonical SMILES)."""
    out: list[Any] = []
    for one in molecules:
        try:
            out.append(read(one))
        except Unreadable:
            continue
    return out


def share(good: int, of: int) -> dict[str, float]:
    """A share with its interval."""
    interval = wilson(good, of)
    return {"share": good / of, "low": interval.low, "high": interval.high}


def measured(wheel: str, count: int) -> dict[str, Any]:
    """Everything, as JSON."""
    made = readable(drawn(count))
    unique = sorted({canonical for _, canonical in made})
    train, test = (smiles(wheel, split) for split in ("train", "test"))
    known = set(train)  # MOSES holds RDKit's canonical SMILES
    ours = properties([mol for mol, _ in made])
    data = properties([mol for mol, _ in readable(test[:: max(1, len(test) // count)][:count])])
    tables = {
        name: {
            "mean": float(x.mean()),
            "median": float(np.median(x)),
            "data mean": float(data[name].mean()),
            "data median": float(np.median(data[name])),
            "distance": float(wasserstein_distance(x, data[name])),
            "edges": EDGES[name].tolist(),
            "drawn": np.histogram(np.clip(x, EDGES[name][0], EDGES[name][-1]), EDGES[name])[0].tolist(),
            "data": np.histogram(np.clip(data[name], EDGES[name][0], EDGES[name][-1]), EDGES[name])[0].tolist(),
        }
        for name, x in ours.items()
    }
    return {
        "bench": "molecules_law",
        "count": count,
        "valid": share(len(made), count),
        "unique": share(len(unique), len(made)),
        "novel": share(sum(one not in known for one in unique), len(unique)),
        "properties": tables,
    }


def figure(found: dict[str, Any], path: Path) -> None:
    """One histogram a property."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    picture, axes = plt.subplots(1, len(EDGES), figsize=(13, 2.8), layout="constrained")
    for axis, (name, table) in zip(axes, found["properties"].items(), strict=True):
        for label, colour in (("data", "0.7"), ("drawn", "tab:blue")):
            style = "stepfilled" if label == "data" else "step"
            axis.stairs(table[label], table["edges"], fill=style == "stepfilled", color=colour, label=label)
        axis.set(title=name, yticks=[])
    axes[0].legend(fontsize=8)
    picture.savefig(path, dpi=110)
    plt.close(picture)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", help="molsets-0.3.1-py3-none-any.whl")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    found = measured(options.wheel, options.count)
    pictured(found, options.out, lambda path: figure(found, path))


if __name__ == "__main__":
    main()
