"""Closed forms over images: no network, no data."""

import io

import numpy as np

from search.ports import Floats
from verifiers.each import Unreadable
from verifiers.images.reading import Image, coloured, image, luminance

WINDOW, SIGMA = 11, 1.5
LONGEST = 65_500
K1, K2 = 0.01, 0.03


def sharpness(picture: Image) -> float:
    """Variance of the Laplacian of the light (Pech-Pacheco et al. 2000, 10.1109/ICPR.2000.903548); edges mirrored."""
    p = np.pad(luminance(picture), 1, "reflect" if min(picture.shape[:2]) > 1 else "edge")
    inner = p[1:-1, 1:-1]
    return float((p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * inner).var())


def contrast(picture: Image) -> float:
    """Standard deviation of the light as a share of its range, 0 to 1/2 (RMS contrast, Peli 1990)."""
    return float(luminance(picture).std() / 255)


def colourfulness(picture: Image) -> float:
    """Of Hasler & Suesstrunk 2003 (10.1117/12.477378): 0 is grey, 109 extremely colourful."""
    r, g, b = (coloured(picture)[..., i].astype(np.float64) for i in range(3))
    rg, yb = r - g, (r + g) / 2 - b
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def entropy(picture: Image) -> float:
    """Bits of the histogram of the light's 256 levels, 0 to 8."""
    counts = np.bincount(np.rint(luminance(picture)).astype(np.int64).ravel(), minlength=256)
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum()) + 0.0


def jpeg_bytes(picture: Image, quality: int) -> int:
    """Bytes of the image as a JPEG of Pillow's, a grey one with one channel. Raises Unreadable for a side too long."""
    from PIL import Image as Pillow

    if max(image(picture).shape[:2]) > LONGEST:
        raise Unreadable(f"a side has {max(picture.shape[:2])} pixels; a JPEG's has at most {LONGEST}")
    out = io.BytesIO()
    Pillow.fromarray(picture).save(out, "JPEG", quality=quality)
    return out.tell()


def mean_squared_error(one: Image, other: Image) -> float:
    """Mean squared difference, 0 to 1, of images of one size; one is in colour where the other is."""
    a, b = alike(one, other)
    return float(np.mean((a - b) ** 2) / 255**2)


def ssim(one: Image, other: Image) -> float:
    """Structural similarity, -1 to 1 (Wang et al. 2004, 10.1109/TIP.2003.819861).

    Gaussian windows of 11 pixels, sigma 1.5, inside the image; mean over channels. A side under 11 takes one window of
    that side's odd length.
    """
    a, b = alike(one, other)
    weights = [gauss(side) for side in a.shape[:2]]

    def local(x: Floats) -> Floats:
        for axis, window in enumerate(weights):
            x = np.tensordot(np.lib.stride_tricks.sliding_window_view(x, len(window), axis), window, 1)
        return x

    c1, c2 = (K1 * 255) ** 2, (K2 * 255) ** 2
    mean_a, mean_b = local(a), local(b)
    var_a, var_b = local(a * a) - mean_a**2, local(b * b) - mean_b**2
    shared = local(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + c1) * (2 * shared + c2)
    return float((top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


def gauss(side: int) -> Floats:
    """Weights of a window, at most as long as a side, that sum to 1."""
    length = min(WINDOW, side - 1 + side % 2)
    x = np.arange(length) - (length - 1) / 2
    weights = np.exp(-(x**2) / (2 * SIGMA**2))
    return weights / weights.sum()


def alike(one: Image, other: Image) -> tuple[Floats, Floats]:
    """Both as float64 [h, w, channels]: one channel when both are grey, else three."""
    if one.ndim == 2 and other.ndim == 2:
        return one[..., None].astype(np.float64), other[..., None].astype(np.float64)
    return coloured(one).astype(np.float64), coloured(other).astype(np.float64)


def edit_similarity(said: str, wanted: str) -> float:
    """1 - Levenshtein distance / length of the longer, 0 to 1; 1 for two empty texts."""
    if not said and not wanted:
        return 1.0
    row = np.arange(len(wanted) + 1)
    codes = np.array([ord(c) for c in wanted], np.int64)
    for i, character in enumerate(said, 1):
        best = np.minimum(row[1:] + 1, row[:-1] + (codes != ord(character)))  # a letter more, or another
        # a letter less: row[j] = min over k <= j of best[k] + (j - k), by a running minimum
        shifted = np.concatenate([[i], best]) - np.arange(len(row))
        row = np.minimum.accumulate(shifted) + np.arange(len(row))
    return 1 - int(row[-1]) / max(len(said), len(wanted))
