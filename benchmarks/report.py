"""Where and when a benchmark ran, and keeping what it found."""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np

import hitfinder
from peer import Peer

RESULTS = Path(__file__).resolve().parent / "results"


def results_header(peers: list[Peer]) -> dict[str, Any]:
    """Machine, date, command and versions."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "command": " ".join(["python", *sys.argv]),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {
            "hitfinder": hitfinder.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "numba": numba.__version__,
            **{peer.name: peer.version_string() for peer in peers if peer.available()},
        },
    }


def write_json(name: str, result: dict[str, Any]) -> None:
    """Keep a result under ``benchmarks/results``."""
    path = RESULTS / name
    RESULTS.mkdir(exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    temporary.replace(path)
    print(f"written to {path}")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "unknown")
