"""Messages that were recorded from detectors."""

import gzip
from pathlib import Path

HERE = Path(__file__).parents[1] / "data" / "simplon"
SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "simplon"


def read(path):
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def stream1(kind):
    return [read(path) for path in sorted((HERE / "stream1").glob(f"{kind}_part*.gz"))]


def stream2(kind):
    return [read(HERE / "stream2" / f"{kind}.cbor.gz")]
