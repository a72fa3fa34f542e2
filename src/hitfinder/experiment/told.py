"""What the frames' files and a geometry file say together, for people to read."""

from __future__ import annotations

import dataclasses

from hitfinder.experiment.beam import FROM_FILE, BeamField, beam_value, fixed_shift
from hitfinder.experiment.masks import masks_of
from hitfinder.geometry.crystfel import GeomFile
from hitfinder.io.source import FrameSource
from hitfinder.io.summary import Told


def told_by(geom: GeomFile, source: FrameSource) -> Told:
    """Say what is known of frames with a geometry file.

    Parameters
    ----------
    geom : GeomFile
        The geometry file.
    source : FrameSource
        The frames, with what their files say.

    Raises
    ------
    GeometryError
        If the geometry file does not fit the frames, or names places that are not in their files.
    """
    fields: tuple[BeamField, ...] = ("photon_energy_ev", "camera_length_m")
    beam = {name: beam_value(name, None, geom, source) for name in fields}
    origin: dict[str, str] = {
        name: found.origin for name, found in beam.items() if found.origin != FROM_FILE
    }
    placed = dataclasses.replace(
        geom,
        shift_x=fixed_shift(geom.shift_x, "detector_shift_x", geom, source),
        shift_y=fixed_shift(geom.shift_y, "detector_shift_y", geom, source),
    ).detector(source.shape)
    masks = masks_of(source, geom)
    detector = placed if masks.common is None else placed.with_mask(masks.common)
    origin |= dict.fromkeys(("detector", "beam_center", "pixel_size_m", "mask"), geom.path)
    energy = beam["photon_energy_ev"].used
    said = dataclasses.replace(
        source.metadata,
        photon_energy_ev=energy,
        camera_length_m=beam["camera_length_m"].used,
        beam_center=detector.beam_center,
        pixel_size_m=detector.panels[0].pixel_size_m,
        mask=detector.full_mask,
        detector=detector.name,
    )
    if detector.saturation is not None:
        said = dataclasses.replace(said, saturation=detector.saturation)
        origin["saturation"] = geom.path
    return Told(said, origin, geom.adu_per_photon(energy), geom.warnings)
