"""An output: the peaks of the hits as lines of text, as a spreadsheet or a script reads them."""

from __future__ import annotations

from pathlib import Path

from hitfinder.atomic import replacing
from hitfinder.job.outputs.findings import Findings

COLUMNS = ("fs", "ss", "photons", "snr", "resolution_a")


class SpotsOutput:
    """One line for each peak of a hit: file, event, position, photons, and what else is known."""

    files = ("spots.tsv",)

    def __init__(self, settings) -> None:
        pass

    def write(self, found: Findings, folder: Path) -> None:
        with replacing(folder / self.files[0]) as part, part.open("w") as file:
            file.write("\t".join(("file", "event", *COLUMNS)) + "\n")
            for hit in found.hits():
                ref = found.ref(hit.frame)
                for peak in hit.peaks:
                    numbers = (f"{peak[name]:.4g}" for name in COLUMNS)
                    file.write("\t".join((ref.file, ref.event, *numbers)) + "\n")
