"""Write `molecules.npz` from the molecules of MOSES: SELFIES as tokens, uint8 [n, length], and their alphabet.

The package (MIT licence) holds 1.6 million drug-like molecules of ZINC as SMILES. Every `--stride`-th of them is taken;
one of more than `--length` tokens is left out, a shorter one is filled with [nop].

    pip download --no-deps molsets==0.3.1
    python -m generators.training.moses molsets-0.3.1-py3-none-any.whl molecules.npz
"""

import argparse
import gzip
import json
import zipfile
from collections import Counter
from collections.abc import Sequence

import numpy as np
import selfies

NOP = "[nop]"


def smiles(wheel: str, split: str) -> list[str]:
    """The SMILES of a split, `train` or `test`, in order."""
    with zipfile.ZipFile(wheel) as archive:
        table = gzip.decompress(archive.read(f"moses/dataset/data/{split}.csv.gz")).decode()
    return [line.split(",")[0] for line in table.splitlines()[1:]]


def encoded(molecules: Sequence[str], length: int) -> tuple[list[str], np.ndarray]:
    """Alphabet, [nop] first and then by frequency, and tokens, uint8 [n, length]."""
    split = (list(selfies.split_selfies(selfies.encoder(molecule))) for molecule in molecules)
    kept = [symbols for symbols in split if len(symbols) <= length]
    times = Counter(symbol for symbols in kept for symbol in symbols)
    alphabet = [NOP, *sorted(times, key=lambda symbol: (-times[symbol], symbol))]
    number = {symbol: i for i, symbol in enumerate(alphabet)}
    tokens = np.zeros((len(kept), length), np.uint8)
    for row, symbols in zip(tokens, kept, strict=True):
        row[: len(symbols)] = [number[symbol] for symbol in symbols]
    return alphabet, tokens


def main() -> None:
    """Command line: wheel in, npz out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", help="molsets-0.3.1-py3-none-any.whl")
    parser.add_argument("out", help="the npz to write")
    parser.add_argument("--stride", type=int, default=5)
    parser.add_argument("--length", type=int, default=40)
    options = parser.parse_args()
    molecules = smiles(options.wheel, "train")[:: options.stride]
    alphabet, tokens = encoded(molecules, options.length)
    order = np.random.default_rng(0).permutation(len(tokens))
    np.savez_compressed(options.out, tokens=tokens[order], alphabet=np.array(alphabet))
    mean = float((tokens > 0).sum(1).mean())
    print(json.dumps({"molecules": len(molecules), "kept": len(tokens), "tokens": mean, "alphabet": alphabet}))


if __name__ == "__main__":
    main()
