"""Latents and pictures: an autoencoder of diffusers in both directions."""

from typing import Any

import numpy as np

AT_ONCE = 8
"""Latents decoded in one call: an autoencoder's memory grows with them, and more gain nothing."""


def decoded(autoencoder: Any, latents: Any) -> list[Any]:
    """Latents, float32 [n, *shape], as pictures, uint8 [height, width, 3]."""
    import torch

    pictures: list[Any] = []
    with torch.inference_mode():
        for i in range(0, len(latents), AT_ONCE):
            z = _unscaled(autoencoder.config, torch.from_numpy(np.ascontiguousarray(latents[i : i + AT_ONCE])))
            out = autoencoder.decode(z.to(_device(autoencoder), autoencoder.dtype), return_dict=False)[0].float()
            out = out[:, :, 0] if out.ndim == 5 else out  # the first frame of a film
            pixels = ((out / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
            pictures.extend(pixels.cpu().numpy())
    return pictures


def encoded(autoencoder: Any, pictures: Any, frames: bool) -> Any:
    """Pictures, uint8 [n, height, width, 3], as latents, float32 [n, *shape]: the middle of what the encoder says."""
    import torch

    with torch.inference_mode():
        x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
        x = (x[:, :, None] if frames else x).to(_device(autoencoder), autoencoder.dtype)
        out = autoencoder.encode(x)
        z = out.latent_dist.mode() if hasattr(out, "latent_dist") else out.latent
        return _scaled(autoencoder.config, z.float().cpu()).numpy()


def _numbers(config: Any) -> tuple[float, float, Any, Any]:
    """scale, shift, mean and spread with which latents are (z - mean) scale / spread, or (z - shift) scale."""
    import torch

    scale, shift = getattr(config, "scaling_factor", None) or 1.0, getattr(config, "shift_factor", None) or 0.0
    mean, spread = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is None or spread is None:
        return scale, shift, None, None
    return scale, shift, torch.tensor(mean), torch.tensor(spread)


def _unscaled(config: Any, x: Any) -> Any:
    scale, shift, mean, spread = _numbers(config)
    if mean is None:
        return x / scale + shift
    wide = (1, -1, *[1] * (x.ndim - 2))
    return x * spread.reshape(wide) / scale + mean.reshape(wide)


def _scaled(config: Any, z: Any) -> Any:
    scale, shift, mean, spread = _numbers(config)
    if mean is None:
        return (z - shift) * scale
    wide = (1, -1, *[1] * (z.ndim - 2))
    return (z - mean.reshape(wide)) * scale / spread.reshape(wide)


def _device(autoencoder: Any) -> Any:
    """Where it computes: with offload its weights wait elsewhere, and a hook says where they will go."""
    hook = getattr(autoencoder, "_hf_hook", None)
    return getattr(hook, "execution_device", None) or autoencoder.device
