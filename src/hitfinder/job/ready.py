"""What workers of a run import before they are told of it, so that they are ready for frames."""

import hitfinder.io.stack
import hitfinder.job.chunks
import hitfinder.job.look  # noqa: F401
from hitfinder.finding.score import chance_table

# Numba sets itself up when compiled code is called first, which takes as long as several frames;
# and every finder needs this table.
chance_table()
