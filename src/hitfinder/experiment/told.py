"""What the frames' files and a geometry file say together, for people to read."""

from __future__ import annotations

import dataclasses

from hitfinder.experiment.beam import FROM_FILE, BeamField, beam_value, fixed_shift
from hitfinder.experiment.described import detector_by
from hitfinder.experiment.gain import counts_doubt
from hitfinder.experiment.masks import masks_of
from hitfinder.experiment.noise import noise_in_words
from hitfinder.experiment.photons import in_photons
from hitfinder.geometry.crystfel import GeomFile
from hitfinder.geometry.detector import Detector
from hitfinder.geometry.foreign.described import DescribedDetector
from hitfinder.io.source import FrameSource
from hitfinder.io.summary import Told


def told_by(geom: GeomFile | DescribedDetector | None, source: FrameSource) -> Told:
    """Say what is known of frames with a geometry file, and what they tell of their noise.

    Parameters
    ----------
    geom : GeomFile or DescribedDetector, optional
        The geometry file.
    source : FrameSource
        The frames, with what their files say.

    Raises
    ------
    GeometryError
        If the geometry file does not fit the frames, or names places that are not in their files.
    """
    if geom is None:
        # The pixel's size does not matter for it.
        whole = Detector.flat(source.shape, 1e-4)
        masked = whole if source.metadata.mask is None else whole.with_mask(source.metadata.mask)
        doubts = _doubts(source, masked)
        return Told(source.metadata, {}, None, doubts, noise_in_words(source, None, None, masked))
    if isinstance(geom, DescribedDetector):
        return _told_by_other(geom, source)
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
        panels=(),
        mask=detector.full_mask,
        detector=detector.name,
    )
    if detector.saturation is not None:
        said = dataclasses.replace(said, saturation=detector.saturation)
        origin["saturation"] = geom.path
    gain = geom.adu_per_photon(energy)
    doubts = *geom.warnings, *_doubts(in_photons(source, geom, gain or 1.0), detector)
    return Told(said, origin, gain, doubts, noise_in_words(source, geom, gain, detector))


def _doubts(photons: FrameSource, detector: Detector) -> tuple[str, ...]:
    """Say that frames cannot be photon counts, if that is so and they are whole numbers."""
    doubt = counts_doubt(photons, detector) if photons.dtype.kind != "f" else ""
    return (doubt,) if doubt else ()


def _told_by_other(described: DescribedDetector, source: FrameSource) -> Told:
    """Say what is known with a geometry file of another program than CrystFEL."""
    detector, length = detector_by(described, source)
    names = ["camera_length_m", "detector", "beam_center", "pixel_size_m", "mask"]
    masked = source.metadata.mask
    detector = detector if masked is None else detector.with_mask(masked)
    said = dataclasses.replace(
        source.metadata,
        camera_length_m=length,
        beam_center=detector.beam_center,
        pixel_size_m=detector.panels[0].pixel_size_m,
        panels=(),
        mask=detector.full_mask,
        detector=detector.name,
    )
    if described.photon_energy_ev is not None:
        said = dataclasses.replace(said, photon_energy_ev=described.photon_energy_ev)
        names.append("photon_energy_ev")
    gain = described.adu_per_photon
    noise = noise_in_words(source, None, gain, detector)
    doubts = *described.warnings, *_doubts(in_photons(source, None, gain or 1.0), detector)
    return Told(said, dict.fromkeys(names, described.path), gain, doubts, noise)
