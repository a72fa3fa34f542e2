"""The geometry of a job: a user's own, a geometry file's, or that of a detector known by name."""

from __future__ import annotations

import dataclasses
import logging
import os
import re

from hitfinder.errors import GeometryError
from hitfinder.experiment.beam import (
    FROM_FILE,
    GIVEN,
    IN_PYTHON,
    beam_value,
    check_beam_centers,
    fixed_shift,
)
from hitfinder.experiment.described import detector_by
from hitfinder.experiment.experiment import Experiment
from hitfinder.experiment.photons import in_photons
from hitfinder.experiment.recognise import closest, recognise
from hitfinder.experiment.settings import GeometrySettings
from hitfinder.geometry.crystfel import GeomFile
from hitfinder.geometry.detector import Detector
from hitfinder.geometry.foreign.described import DescribedDetector
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.io.source import FrameSource

log = logging.getLogger(__name__)

_DATA_FILE = re.compile(r"_data_\d+(\.h5)$")
"""How the data files of a detector's master end."""


def placed(
    settings: GeometrySettings,
    geom: GeomFile | DescribedDetector | None,
    source: FrameSource,
    geometry: Geometry | None,
) -> Experiment:
    """Find out where the pixels of frames are, by the first of these that there is.

    Parameters
    ----------
    settings, geom, source, geometry
        As for `hitfinder.experiment.open.experiment_of`.

    Raises
    ------
    GeometryError
        If something is not known, or does not fit the frames.
    """
    if geometry is not None:
        return _from_python(settings, geometry, source)
    if isinstance(geom, DescribedDetector):
        return _from_described(settings, geom, source)
    if geom is not None:
        return _from_geom(settings, geom, source)
    return _from_names(settings, source)


def _from_python(settings: GeometrySettings, geometry: Geometry, source: FrameSource) -> Experiment:
    """Take the geometry as it is; of the settings the mask alone can add to it."""
    if settings != GeometrySettings(mask=settings.mask):
        raise GeometryError(
            "a geometry and settings of the geometry are given",
            hint="Give one or the other; a mask goes with both.",
        )
    if geometry.shape != source.shape:
        raise GeometryError(
            f"frames are {source.shape[0]} x {source.shape[1]} pixels, the geometry has "
            f"{geometry.shape[0]} x {geometry.shape[1]}",
            source.ref(0).file,
        )
    properties = "detector", "photon_energy_ev", "camera_length_m", "beam_center", "polarisation"
    return Experiment(
        geometry, dict.fromkeys((*properties, "saturation"), IN_PYTHON), source, source
    )


def _from_geom(settings: GeometrySettings, geom: GeomFile, source: FrameSource) -> Experiment:
    """Geometry of a geometry file, with what it leaves to the data files read from them."""
    energy = beam_value("photon_energy_ev", settings.photon_energy_ev, geom, source)
    length = beam_value("camera_length_m", settings.camera_length_m, geom, source)
    geom = dataclasses.replace(
        geom,
        shift_x=fixed_shift(geom.shift_x, "detector_shift_x", geom, source),
        shift_y=fixed_shift(geom.shift_y, "detector_shift_y", geom, source),
    )
    polarisation, polarisation_by = _polarisation(settings)
    geometry = geom.geometry(
        energy.used, length.used, shape=source.shape, polarisation=polarisation
    )
    origin = {
        "detector": geom.path,
        "photon_energy_ev": energy.origin,
        "camera_length_m": length.origin,
        "beam_center": geom.path,
        "polarisation": polarisation_by,
        "saturation": geom.path,
    }
    gain = settings.adu_per_photon or geom.adu_per_photon(geometry.photon_energy_ev)
    if gain is None and any(p.adu_per_photon or p.adu_per_ev for p in geom.panels):
        what = "the panels differ in adu_per_photon or adu_per_eV"
        raise GeometryError(what, geom.path, "Give --adu-per-photon, one for all.")
    experiment = _in_photons(settings, geometry, origin, source, gain, geom.path, geom)
    return dataclasses.replace(
        experiment, photon_energies_ev=energy.of_frames, camera_lengths_m=length.of_frames
    )


def _from_described(
    settings: GeometrySettings, described: DescribedDetector, source: FrameSource
) -> Experiment:
    """Geometry of a file of another program; what it does not say is taken from the frames'."""
    path, given = described.path, settings.photon_energy_ev or described.photon_energy_ev
    detector, length = detector_by(described, source)
    detector = dataclasses.replace(detector, saturation=described.saturation)
    energy = beam_value("photon_energy_ev", given, None, source)
    if energy.used is None:
        raise GeometryError("the photon energy is not known", path, "Give --photon-energy-ev.")
    origin = dict.fromkeys(("detector", "beam_center"), path)
    origin["camera_length_m"] = path if settings.camera_length_m is None else GIVEN
    if described.saturation is not None:
        origin["saturation"] = path
    own_energy = settings.photon_energy_ev is None and described.photon_energy_ev is not None
    origin["photon_energy_ev"] = path if own_energy else energy.origin
    polarisation, origin["polarisation"] = _polarisation(settings, described.polarisation, path)
    try:
        length = settings.camera_length_m or length
        geometry = Geometry(detector, length, energy.used, polarisation)
    except ValueError as error:
        raise GeometryError(str(error), path) from None
    gain = settings.adu_per_photon or described.adu_per_photon
    experiment = _in_photons(settings, geometry, origin, source, gain, path)
    return dataclasses.replace(experiment, photon_energies_ev=energy.of_frames)


def _polarisation(
    settings: GeometrySettings, said: float | None = None, by: str = ""
) -> tuple[float, str]:
    """Return the polarisation, and where it is taken from: the settings, or what a file said."""
    if settings.polarisation is not None:
        return settings.polarisation, GIVEN
    return (1.0, "assumed") if said is None else (said, by)


def _in_photons(
    settings: GeometrySettings,
    geometry: Geometry,
    origin: dict[str, str],
    source: FrameSource,
    gain: float | None,
    by: str,
    geom: GeomFile | None = None,
) -> Experiment:
    """Put an experiment together, its frames in photons by the gain, if that is known."""
    if gain is None:
        by = "assumed"
    elif settings.adu_per_photon is not None:
        by = GIVEN
    origin, gain = {**origin, "adu_per_photon": by}, gain or 1.0
    return Experiment(geometry, origin, in_photons(source, geom, gain), source, gain)


def detector_of(settings: GeometrySettings, source: FrameSource) -> tuple[Detector, str]:
    """Return the detector that the settings name, or that its frames tell, and which it was.

    Raises
    ------
    GeometryError
        If it is not known, or does not fit the frames.
    """
    if settings.detector is None:
        return recognise(source.shape, source.metadata, settings.pixel_size_um)
    if source.metadata.panels:
        log.warning(
            "the frames' file places its detector otherwise than flat across the beam, which "
            "--detector does away with"
        )
    detector = named_detector(settings.detector)
    if detector.shape != source.shape:
        raise GeometryError(
            f"frames are {source.shape[0]} x {source.shape[1]} pixels, detector "
            f"{detector.name!r} has {detector.shape[0]} x {detector.shape[1]}",
            source.ref(0).file,
            closest(source.shape),
        )
    return detector, GIVEN


def _master_beside(file: str) -> str:
    """Name the master of a detector's data file, if it is there, as the better thing to give."""
    master = _DATA_FILE.sub(r"_master\1", file)
    is_there = master != file and os.path.isfile(master)
    return f"{master}, which tells more than its data files, or " if is_there else ""


def _unknown(file: str, *, energy: bool, length: bool) -> GeometryError:
    """Name what is not known, all at once, and the options that tell it."""
    named = [("photon energy", "--photon-energy-ev")] * energy
    named += [("camera length", "--camera-length-m")] * length
    what = " and ".join(f"the {name}" for name, _ in named)
    options = " and ".join(option for _, option in named)
    are = "are" if len(named) > 1 else "is"
    return GeometryError(f"{what} {are} not known", file, f"Give {_master_beside(file)}{options}.")


def _from_names(settings: GeometrySettings, source: FrameSource) -> Experiment:
    """Geometry of a detector known by name or recognised, placed as its files say."""
    said = source.metadata
    origin = dict[str, str]()
    polarisation, origin["polarisation"] = _polarisation(settings)
    detector, origin["detector"] = detector_of(settings, source)
    energy = beam_value("photon_energy_ev", settings.photon_energy_ev, None, source)
    length = beam_value("camera_length_m", settings.camera_length_m, None, source)
    origin["photon_energy_ev"], origin["camera_length_m"] = energy.origin, length.origin
    file = source.ref(0).file
    if energy.used is None or length.used is None:
        raise _unknown(file, energy=energy.used is None, length=length.used is None)
    origin["beam_center"] = "assumed"
    if settings.beam_center is None:
        check_beam_centers(source)
    if said.beam_center is not None:
        if detector.panels != said.panels:
            detector = detector.with_beam_center(*said.beam_center)
        origin["beam_center"] = FROM_FILE
    try:
        geometry = Geometry(detector, length.used, energy.used, polarisation)
    except ValueError as error:
        raise GeometryError(str(error), file) from error
    experiment = _in_photons(settings, geometry, origin, source, settings.adu_per_photon, "")
    return dataclasses.replace(
        experiment, photon_energies_ev=energy.of_frames, camera_lengths_m=length.of_frames
    )
