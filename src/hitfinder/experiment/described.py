"""The detector of frames by a geometry file of pyFAI, DIALS or XDS."""

from __future__ import annotations

import dataclasses

from hitfinder.experiment.recognise import recognise
from hitfinder.geometry.detector import Detector
from hitfinder.geometry.foreign.described import DescribedDetector
from hitfinder.io.source import FrameSource


def detector_by(described: DescribedDetector, source: FrameSource) -> tuple[Detector, float]:
    """Place the detector of frames as a geometry file has it.

    Parameters
    ----------
    described : DescribedDetector
        The file.
    source : FrameSource
        The frames.

    Returns
    -------
    detector : Detector
        Its gaps are masked if it is known by name, besides what the file masks.
    camera_length_m : float
        Distance along the beam to the plane of the panel that the beam meets.

    Raises
    ------
    GeometryError
        If the file does not fit the frames.
    """
    placement = described.placement(source.shape)
    along_fs, along_ss = placement.panels[0].pixel_edges_m
    said = dataclasses.replace(
        source.metadata,
        panels=placement.panels,
        pixel_size_m=along_fs,
        pixel_height_m=None if abs(along_ss / along_fs - 1) < 1e-4 else along_ss,
    )
    detector, _ = recognise(source.shape, said)
    return detector.with_mask(described.mask(source.shape)), placement.camera_length_m
