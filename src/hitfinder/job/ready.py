"""What workers of a run import before they are told of it, so that they are ready for frames."""

import numpy as np

import hitfinder.io.stack
import hitfinder.job.chunks
import hitfinder.job.static  # noqa: F401
from hitfinder.finding.score import frame_score

# Numba sets itself up when compiled code is called first, which takes as long as several frames.
frame_score(np.zeros(1))
