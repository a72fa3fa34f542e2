"""Where PyTorch computes."""

from __future__ import annotations


def device_name(asked: str) -> str:
    """Return PyTorch's name of a device.

    Parameters
    ----------
    asked : str
        PyTorch's own name, ``gpu`` for CUDA, or ``auto`` for CUDA where there is such a device and
        the CPU elsewhere.
    """
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return {"gpu": "cuda"}.get(asked, asked)
