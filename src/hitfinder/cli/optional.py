"""Optional parts of the installation."""

from __future__ import annotations

import importlib.util

from hitfinder.errors import ConfigError


def require_train_extra() -> None:
    """Raise ConfigError, naming the extra, unless what training needs is there."""
    for module in ("torch", "lightning", "safetensors", "onnx"):
        if importlib.util.find_spec(module) is None:
            raise ConfigError(
                f"this needs {module}, which is not installed",
                hint="Install it with: pip install 'hitfinder[train]'",
            )
