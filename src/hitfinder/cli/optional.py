"""Optional parts of the installation."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from hitfinder.errors import ConfigError


def require_train_extra() -> None:
    """Raise ConfigError, naming the extra, unless what training needs is there."""
    _require("train", ("torch", "lightning", "safetensors", "onnx"))


def require_live_extra() -> None:
    """Raise ConfigError, naming the extra, unless what streams need is there."""
    _require("live", ("zmq", "cbor2", "msgpack"))


def require_monitor_extra() -> None:
    """Raise ConfigError, naming the extra, unless what the page of a run needs is there."""
    _require("monitor", ("starlette", "uvicorn", "prometheus_client"))


def _require(extra: str, modules: Iterable[str]) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise ConfigError(
                f"this needs {module}, which is not installed",
                hint=f"Install it with: pip install 'hitfinder[{extra}]'",
            )
