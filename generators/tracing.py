"""A network that runs without the interpreter: on a CPU, small networks spend much of their time in Python.

A traced call lets go of the interpreter's lock once instead of at every layer, so calls on several threads and the rest
of the process stay out of each other's way. The kernels, and so the rounding, are those of the eager network.
"""

import warnings
from collections.abc import Callable
from typing import Any

from generators.denoising import Network


def traced(network: Callable[..., Any], *example: Any) -> Network:
    """`network` recorded as TorchScript on the arguments `example` (tensors of at least 2 rows).

    The number of rows stays free; nothing else may depend on the values of the arguments. PyTorch deprecates
    TorchScript, but what it recommends instead needs a C++ compiler wherever Winnow runs.
    """
    import torch

    class Module(torch.nn.Module):
        def forward(self, *arguments: Any) -> Any:
            return network(*arguments)

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the deprecation, and checks of shapes that hold for every call
        return torch.jit.trace(Module(), example, check_trace=False)  # type: ignore[no-any-return]
