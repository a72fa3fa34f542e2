"""The detector of frames that no setting and no geometry file tells of."""

from __future__ import annotations

from hitfinder.errors import GeometryError
from hitfinder.experiment.beam import FROM_FILE
from hitfinder.geometry.detector import Detector
from hitfinder.geometry.named import detectors, named_detector
from hitfinder.io.source import Metadata


def recognise(shape: tuple[int, int], said: Metadata) -> tuple[Detector, str]:
    """Tell a detector by the shape of its frames and its description.

    Returns
    -------
    detector : Detector
        A named one of this shape, preferring one that the description names; else one flat panel
        with the pixel size of the files.
    origin : str
        How it was recognised.

    Raises
    ------
    GeometryError
        If no detector is known by this shape and the files give no pixel size.
    """
    named = [d for d in map(named_detector, detectors()) if d.shape == shape]
    words = _plain(said.detector)
    named.sort(key=lambda d: _plain(d.name) not in words)
    if named:
        return named[0], "recognised by the shape of the frames"
    rows, columns = shape
    if said.pixel_size_m is None:
        raise GeometryError(
            f"no detector is known with frames of {rows} x {columns} pixels",
            hint="Give --geometry FILE.geom, or --detector with one of another name.",
        )
    name = said.detector or "unnamed detector"
    detector = Detector.flat(shape, said.pixel_size_m, name=name)
    return detector, f"{FROM_FILE}: shape and pixel size"


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())
