"""The contract of an output."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from hitfinder.job.outputs.findings import Findings


@runtime_checkable
class Output(Protocol):
    """Writes something of a run's results into its folder.

    A class that is registered as an output is called with the
    `hitfinder.job.settings.OutputSettings` of the job, and gives such an object. Outputs are
    written one after another when the frames are done, or when the run was interrupted, and once
    more when it has gone on. It may have ``imports``, names of modules that it imports only then:
    they are imported while workers search the frames. It may have methods ``share`` and
    ``prepare``, which are called with the findings beforehand: the one adds to `Findings.beside`
    what workers can do, the other does what can be done while they are at it, before the verdict on
    the run is known. It may say ``before_verdict = True``, if it takes nothing from
    `Findings.about` but what is known beforehand: then it is written while workers are at it, too.

    Attributes
    ----------
    files : tuple of str
        Names of the files that it writes into the folder, all of them every time, and no others:
        they are replaced when the run is repeated, and deleted when it leaves them out.
    """

    files: tuple[str, ...]

    def write(self, found: Findings, folder: Path) -> None:
        """Write the files, each whole or not at all, as `hitfinder.atomic.replacing` does.

        Parameters
        ----------
        found : Findings
            The results so far. There may be no hit and no frame with results.
        folder : Path
            Where to write.

        Raises
        ------
        hitfinder.errors.OutputError
            If a file cannot be written.
        """
        ...
