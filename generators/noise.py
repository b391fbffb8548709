"""The noise of `search.keys` in torch: the same random integers on any device, in 32-bit arithmetic."""

from typing import Any

import numpy as np

from search.keys import Words, threefry


def placed(array: Any, device: str) -> Any:
    """An array as a tensor on a device, copied; a GPU is not waited for."""
    import torch

    here = torch.tensor(np.ascontiguousarray(array))
    return here.pin_memory().to(device, non_blocking=True) if device.startswith("cuda") else here.to(device)


def fetched(*tensors: Any) -> Any:
    """Tensors of equal shape and type as arrays: a GPU's in one piece, waited for once, a CPU's uncopied."""
    if tensors[0].is_cpu:
        return [tensor.numpy() for tensor in tensors]
    import torch

    return torch.stack(tensors).cpu().numpy()


def bits(keys: Words, step: Any, size: int, device: Any) -> tuple[Any, Any]:
    """The words of `search.keys.bits` as two int32 tensors [n, size] on `device`.

    keys: uint32 [n, 2]. step: int, or int [n]. int32 holds the same bits as uint32; only the sign is read differently.
    """
    import torch

    def column(words: Any) -> Any:
        words = np.ascontiguousarray(np.broadcast_to(np.asarray(words, np.uint32), len(keys)))
        return placed(words.view(np.int32), str(device))[:, None]

    counter = torch.arange(size, dtype=torch.int32, device=device)[None]
    return threefry(column(keys[:, 0]), column(keys[:, 1]), column(step), counter)


def normals(keys: Words, step: Any, size: int, device: Any = "cpu") -> Any:
    """Standard normals of `search.keys.normals`, float32 [n, size] on `device`; they agree to 1e-5.

    Box-Muller over all 32 bits in single precision. A word w >= 2^31 reads as the int32 w - 2^32, so that the uniform
    (w + 1/2) / 2^32 near 1 is 1 + (int32 + 1/2) / 2^32, whose logarithm log1p keeps exact where float32 has no digits
    left for the uniform itself; below 1/2 float32 is fine, and the half keeps log away from 0. The sign of the angle's
    word turns it by a whole circle. (float64 would do too, but is slow or missing on many devices.)
    """
    import torch

    x, y = bits(keys, step, (size + 1) // 2, device)
    high = x < 0
    x = x.float().add_(0.5).mul_(2.0**-32)
    radius = torch.where(high, x.log1p(), x.log()).mul_(-2).sqrt_()
    angle = y.float().mul_(2 * np.pi * 2.0**-32)
    pairs = torch.empty((*radius.shape, 2), dtype=torch.float32, device=device)
    torch.mul(radius, angle.cos(), out=pairs[..., 0])
    torch.mul(radius, angle.sin(), out=pairs[..., 1])
    return pairs.flatten(1)[:, :size]
