"""What `hitfinder live` says of itself while it runs, in ``live.json``."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LIVE = "live.json"


def read_live(folder: Path) -> dict[str, Any] | None:
    """Return what a live run in a folder says; None if there is none."""
    try:
        told = json.loads((folder / LIVE).read_bytes())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def about_live(live: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same with the keys of ``run.json``, as far as they are known.

    Raises
    ------
    ValueError
        If its time is none.
    """
    started = datetime.datetime.fromtimestamp(float(live.get("started", 0))).astimezone()
    counts = {"frames": 0, "processed": 0, "hits": 0, "peaks": 0, "by_status": {}}
    return {
        "started": started.isoformat(sep=" ", timespec="seconds"),
        "complete": False,
        "inputs": [str(live.get("source", "live"))],
        "geometry": live["geometry"],
        "settings": {},
        "hits_from": live["hits_from"],
        "counts": counts,
    }
