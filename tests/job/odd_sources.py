"""Sources of frames for the tests of the pipeline; workers import this module by name."""

import json
import os
import signal

import numpy as np

from hitfinder.errors import HitfinderError, SourceError
from hitfinder.executors.nursery import ENVIRONMENT
from hitfinder.io.source import FrameRef, FrameSource

SHAPE = (60, 70)


def frame_of(index, dtype=np.uint16):
    """One peak, which moves from frame to frame, on weak water."""
    frame = np.random.default_rng(index).poisson(0.05, SHAPE).astype(dtype)
    if np.dtype(dtype).kind == "f":
        frame *= 0.3 + index % 7 / 11
    frame[30, 20 + index % 30] = 40
    return frame


class OddSource(FrameSource):
    """Frames; what is odd about some of them is named by `kind`."""

    shape = SHAPE

    def __init__(self, kind, folder, n=20, dtype=np.uint16):
        self.kind, self.folder, self.n, self.dtype = kind, folder, n, np.dtype(dtype)

    def __len__(self):
        return self.n

    def ref(self, index):
        return FrameRef("odd", f"//{index}")

    def read(self, index, out=None):
        once = os.path.join(self.folder, "died")
        if self.kind == "dies" and index == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "hangs" and index == 13:
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.kind == "dies once" and index == 13 and not os.path.exists(once):
            open(once, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "large once" and index == 13 and not os.path.exists(once):
            open(once, "w").close()
            np.empty(1 << 60, np.uint8)
        if self.kind == "mixed" and index == 1:
            raise SourceError("truncated", "ends too early", "odd")
        if self.kind == "mixed" and index == 5:
            raise RuntimeError(json.dumps([os.environ.get(name) for name in ENVIRONMENT]))
        out[...] = frame_of(index, self.dtype)
        return out

    def __enter__(self):
        if self.kind == "cannot work":
            raise HitfinderError("cannot be used", "odd")
        return self


class Stream:
    """Frames that come one by one, with a pause now and then; nobody knows how many."""

    shape, dtype = SHAPE, np.dtype(np.uint16)

    def __init__(self, n, pauses=()):
        self._n, self._pauses = n, pauses

    def ref(self, index):
        return FrameRef("stream", f"//{index}")

    def __iter__(self):
        for index in range(self._n):
            if index in self._pauses:
                yield from [None] * 3
            yield frame_of(index)
