"""Chunks of frames of odd sources through worker processes; prints what came of them as JSON."""

import json
import os
import signal
import sys

import numpy as np

from hitfinder.errors import HitfinderError, SourceError
from hitfinder.executors.contract import Lost
from hitfinder.executors.processes import ENVIRONMENT, Processes
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameRef, FrameSource
from hitfinder.run.chunks import Chunk, ChunkWork

SHAPE = (60, 70)


class OddSource(FrameSource):
    """Twelve frames; what is odd about some of them is named by `kind`."""

    shape, dtype = SHAPE, np.dtype(np.uint16)

    def __init__(self, kind, folder):
        self.kind, self.folder = kind, folder

    def __len__(self):
        return 12

    def ref(self, index):
        return FrameRef("odd", f"//{index}")

    def read(self, index, out=None):
        once = os.path.join(self.folder, "died")
        if self.kind == "dies" and index == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "dies once" and index == 5 and not os.path.exists(once):
            open(once, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "mixed" and index == 1:
            raise SourceError("truncated", "ends too early", "odd")
        if self.kind == "mixed" and index == 5:
            raise RuntimeError(json.dumps([os.environ.get(name) for name in ENVIRONMENT]))
        frame = np.zeros(SHAPE, np.uint16)
        frame[30, 20 + index] = 40
        out[...] = frame
        return out

    def __enter__(self):
        if self.kind == "cannot work":
            raise HitfinderError("cannot be used", "odd")
        return self


def main():
    kind, folder = sys.argv[1:]
    panel = Panel("p0", 0, 0, SHAPE[1], SHAPE[0], -35.0, -30.0)
    geometry = Geometry(Detector("small", SHAPE, (panel,)), 0.02, 6000.0)
    parts = {}
    work = ChunkWork(OddSource(kind, folder), geometry, FinderSettings())
    try:
        with Processes(2) as executor:
            for outcome in executor.run(work, [Chunk(0, 4), Chunk(4, 8), Chunk(8, 12)]):
                lost = isinstance(outcome, Lost)
                found = work.lost(outcome.task, outcome.why) if lost else outcome.result
                parts[found[0].start] = found
    except HitfinderError as error:
        print(json.dumps({"error": str(error)}))
        return
    order = [parts[start] for start in sorted(parts)]
    result = {
        "status": [str(s) for part, _ in order for s in part.rows["status"]],
        "n_peaks": [int(n) for part, _ in order for n in part.rows["n_peaks"]],
        "fs": [float(x) for part, _ in order for x in part.peaks["fs"]],
        "problems": {k: v for part, _ in order for k, v in part.problems.items()},
        "image": int(sum(image.sum() for _, image in order)),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
