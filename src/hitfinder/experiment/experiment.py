"""The geometry of a job: from a geometry file, a detector's name, or the frames' own files."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
from collections.abc import Sequence

import numpy as np

from hitfinder.errors import GeometryError
from hitfinder.experiment.beam import (
    FROM_FILE,
    GIVEN,
    IN_PYTHON,
    Values,
    beam_value,
    check_beam_centers,
    fixed_shift,
    warn_if_they_differ,
    warn_of_another_energy,
)
from hitfinder.experiment.described import detector_by
from hitfinder.experiment.gain import check_gain
from hitfinder.experiment.masks import masks_of
from hitfinder.experiment.noise import DetectorNoise, check_calibrated, log_noise, noise_of
from hitfinder.experiment.photons import MaskedSource, in_photons, unread_flags
from hitfinder.experiment.reach import doubt
from hitfinder.experiment.recognise import closest, recognise
from hitfinder.experiment.settings import GeometrySettings
from hitfinder.geometry.crystfel import Directives, GeomFile, directives_of
from hitfinder.geometry.detector import Detector
from hitfinder.geometry.files import read_geometry
from hitfinder.geometry.foreign.described import DescribedDetector
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.mask import MOST_MASKED, read_mask
from hitfinder.geometry.named import named_detector
from hitfinder.io.frame_choice import FrameChoice, choice_text, choose_frames
from hitfinder.io.framemasks import FrameMasks
from hitfinder.io.open import Input, check_readable
from hitfinder.io.open import open as open_frames
from hitfinder.io.source import FrameSource

log = logging.getLogger(__name__)

_DATA_FILE = re.compile(r"_data_\d+(\.h5)$")
"""How the data files of a detector's master end."""


@dataclasses.dataclass(frozen=True, eq=False)
class Experiment:
    """Where the pixels are, and how it is known.

    Attributes
    ----------
    geometry : Geometry
        Detector with its mask, camera length and beam.
    origin : dict
        For each property of the geometry, where its value was taken from.
    source : FrameSource
        The frames, in photons.
    stored : FrameSource
        The frames, as they are stored.
    adu_per_photon : float
        Stored value of one photon.
    photon_energies_ev, camera_lengths_m : ndarray, shape (n_frames,), optional
        Those of each frame, NaN where its file says nothing; None if the geometry's hold for all.
    directives : Directives
        What CrystFEL is to be told besides the geometry, for frames as they are stored.
    masks : FrameMasks, optional
        Masks of frames beyond the geometry's; `source` has them in its counts already.
    noise : DetectorNoise, optional
        Noise of a detector that does not count; `source` has its offsets taken away.
    """

    geometry: Geometry
    origin: dict[str, str]
    source: FrameSource
    stored: FrameSource
    adu_per_photon: float = 1.0
    photon_energies_ev: Values | None = None
    camera_lengths_m: Values | None = None
    directives: Directives = dataclasses.field(default_factory=Directives)
    masks: FrameMasks | None = None
    noise: DetectorNoise | None = None

    def with_detector(self, detector: Detector, **origin: str) -> Experiment:
        """Return this experiment with another detector, and where that is taken from."""
        geometry = dataclasses.replace(self.geometry, detector=detector)
        return dataclasses.replace(self, geometry=geometry, origin={**self.origin, **origin})

    def of_frame(self, index: int) -> tuple[float, float]:
        """Return the photon energy (eV) and camera length (m) of a frame."""
        return (
            _own(self.photon_energies_ev, index, self.geometry.photon_energy_ev),
            _own(self.camera_lengths_m, index, self.geometry.camera_length_m),
        )

    def log(self) -> None:
        """Say what is used and where it comes from."""
        geometry = self.geometry
        log.info(
            "%s, %d x %d pixels (%s); %.6g eV (%s); camera length %.6g mm (%s)",
            geometry.detector.name,
            *geometry.shape,
            self.origin["detector"],
            geometry.photon_energy_ev,
            self.origin["photon_energy_ev"],
            1e3 * geometry.camera_length_m,
            self.origin["camera_length_m"],
        )
        if self.origin.get("beam_center") == "assumed":
            log.warning("beam centre unknown, taken as the detector's middle; give --beam-center")
        unlikely = doubt(geometry)
        if unlikely:
            log.warning("%s: %s", self.placed, f"{unlikely}; is that right?")
        if self.masks is not None:
            log.info("frames have different masks, each its own: %s", self.masks.summary)
        log_noise(
            *(self.noise, self.source, geometry.detector),
            *(self.adu_per_photon, self.origin.get("adu_per_photon", "assumed")),
        )
        energy, length = geometry.photon_energy_ev, geometry.camera_length_m
        if self.origin["photon_energy_ev"] not in (GIVEN, FROM_FILE, IN_PYTHON):
            warn_of_another_energy(energy, self.origin["photon_energy_ev"], self.stored)
        warn_if_they_differ(self.photon_energies_ev, energy, "photon energy", "eV")
        warn_if_they_differ(self.camera_lengths_m, length, "camera length", "m")

    @property
    def placed(self) -> str:
        """Camera length and photon energy, and where they are taken from, in words."""
        return (
            f"camera length {1e3 * self.geometry.camera_length_m:.6g} mm "
            f"({self.origin['camera_length_m']}), {self.geometry.photon_energy_ev:.6g} eV "
            f"({self.origin['photon_energy_ev']})"
        )


def _own(values: Values | None, index: int, common: float) -> float:
    return common if values is None or np.isnan(values[index]) else float(values[index])


def read_geometry_file(settings: GeometrySettings) -> GeomFile | DescribedDetector | None:
    """Read the geometry file of the settings, if they name one."""
    if settings.file is None:
        return None
    geom = read_geometry(settings.file)
    for warning in geom.warnings:
        log.warning("%s", warning)
    return geom


def open_experiment(
    inputs: Input | Sequence[Input],
    settings: GeometrySettings | None = None,
    geometry: Geometry | None = None,
    *,
    reader: str | type | None = None,
    frames: FrameChoice | None = None,
    limit: int | None = None,
) -> Experiment:
    """Open frames and put together where their pixels are.

    Parameters
    ----------
    inputs : str, Path, ndarray, or sequence of them
        As for `hitfinder.open`.
    settings : GeometrySettings, optional
        What the user says; it comes before everything else.
    geometry : Geometry, optional
        Instead of what a geometry file or the frames' files say.
    reader : str or type, optional
        What opens the files, as for `hitfinder.open`.
    frames : str, int, slice or iterable of int, optional
        Frames to take, such as ``"0:2000:10"``; all if not given.
    limit : int, optional
        Take no more frames than so many, the first.

    Raises
    ------
    SourceError
        If no frame is readable.
    GeometryError
        As `experiment_of`.
    ConfigError
        If no frame is chosen.

    Examples
    --------
    >>> import hitfinder as hf
    >>> experiment = hf.open_experiment("run7_master.h5")
    >>> find = hf.NetworkFinder(experiment.geometry)
    >>> find(experiment.source[12]).hit
    True
    """
    settings = settings or GeometrySettings()
    geom = read_geometry_file(settings)
    stored = open_frames(inputs, layout=geom.layout if geom else None, reader=reader)
    text = None if frames is None else choice_text(frames)
    chosen = choose_frames(stored, text, limit)
    if chosen is not stored:
        check_readable(chosen)
        log.info("%d of %d frames are taken", len(chosen), len(stored))
    return experiment_of(settings, geom, chosen, geometry)


def experiment_of(
    settings: GeometrySettings,
    geom: GeomFile | DescribedDetector | None,
    source: FrameSource,
    geometry: Geometry | None = None,
) -> Experiment:
    """Put together the geometry of a job.

    Parameters
    ----------
    settings : GeometrySettings
        What the user says; it comes before everything else.
    geom : GeomFile or DescribedDetector, optional
        The geometry file, before the files' own description.
    source : FrameSource
        Frames, with what their files say.
    geometry : Geometry, optional
        Instead of what a geometry file or the frames' files say, but for masks.

    Raises
    ------
    GeometryError
        If something is not to be had anywhere, naming the option that gives it, or does not fit
        the frames.
    """
    if geometry is not None:
        experiment = _from_python(settings, geometry, source)
    elif isinstance(geom, DescribedDetector):
        experiment = _from_described(settings, geom, source)
    elif geom is not None:
        experiment = _from_geom(settings, geom, source)
    else:
        experiment = _from_names(settings, source)
    if isinstance(geom, DescribedDetector):
        geom = None
    experiment = _with_masks(experiment, settings, geom, source)
    check_calibrated(source, experiment.geometry.detector)
    if experiment.origin.get("adu_per_photon") == "assumed":
        check_gain(source, experiment.geometry.detector)
    experiment = _with_saturation(_with_noise(experiment, geom, source), geom, source)
    if settings.beam_center is not None:
        detector = experiment.geometry.detector.with_beam_center(*settings.beam_center)
        experiment = experiment.with_detector(detector, beam_center=GIVEN)
    return experiment


def _with_masks(
    experiment: Experiment, settings: GeometrySettings, geom: GeomFile | None, source: FrameSource
) -> Experiment:
    """Add the masks of the files and of the settings."""
    detector, names = experiment.geometry.detector, []
    masks = masks_of(source, geom)
    if masks.common is not None:
        share = float(masks.common.mean())
        if share > MOST_MASKED:
            log.warning(
                "the mask in %s leaves out %.3g %% of the pixels; if other values than 0 stand for "
                "good pixels there, name it in a geometry file, with mask_good = 0x1",
                *(FROM_FILE, 100 * share),
            )
        detector = detector.with_mask(masks.common)
        names.append(f"{FROM_FILE}, each frame's own" if masks.vary else FROM_FILE)
    if masks.vary:
        experiment = dataclasses.replace(
            experiment, source=MaskedSource(experiment.source, masks), masks=masks
        )
    if settings.mask is not None:
        detector = detector.with_mask(read_mask(settings.mask, detector.shape))
        names.append(settings.mask)
    return experiment.with_detector(
        detector, masked_pixels=" and ".join(names) or experiment.origin["detector"]
    )


def _with_noise(experiment: Experiment, geom: GeomFile | None, source: FrameSource) -> Experiment:
    """Measure the noise of a detector that does not count, and have its offsets taken away."""
    detector, scale = experiment.geometry.detector, experiment.adu_per_photon
    noise = noise_of(source, geom, scale, detector)
    if noise is None:
        return experiment
    photons = in_photons(source, geom, scale, noisy=detector)
    if experiment.masks is not None:
        photons = MaskedSource(photons, experiment.masks)
    origin = dict.fromkeys(("noise_photons", "offset_photons"), "some of the frames")
    return dataclasses.replace(
        experiment, source=photons, noise=noise, origin={**experiment.origin, **origin}
    )


def _with_saturation(
    experiment: Experiment, geom: GeomFile | None, source: FrameSource
) -> Experiment:
    """Take the saturation from the files if need be, in photons, and tell CrystFEL of it."""
    detector, scale, said = experiment.geometry.detector, experiment.adu_per_photon, source.metadata
    origin, max_adu = dict[str, str](), None
    stored = detector.saturation
    if stored is None and said.saturation is not None:
        stored, origin = said.saturation, {"saturation": FROM_FILE}
        # Counts are clipped there, while CrystFEL looks for larger ones.
        whole = source.dtype.kind in "iu"
        if not (whole and stored >= np.iinfo(source.dtype).max):
            max_adu = stored - 1 if whole else float(np.nextafter(np.float32(stored), 0))
    unread = unread_flags(source.dtype, scale, noisy=experiment.noise is not None)
    directives = directives_of(geom, unread, max_adu)
    if stored is not None:
        detector = dataclasses.replace(detector, saturation=stored / scale)
    return dataclasses.replace(experiment.with_detector(detector, **origin), directives=directives)


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
    polarisation = 1.0 if settings.polarisation is None else settings.polarisation
    geometry = geom.geometry(
        energy.used, length.used, shape=source.shape, polarisation=polarisation
    )
    origin = {
        "detector": geom.path,
        "photon_energy_ev": energy.origin,
        "camera_length_m": length.origin,
        "beam_center": geom.path,
        "polarisation": "assumed" if settings.polarisation is None else GIVEN,
        "saturation": geom.path,
    }
    gain = settings.adu_per_photon or geom.adu_per_photon(geometry.photon_energy_ev)
    if gain is None and any(p.adu_per_photon or p.adu_per_ev for p in geom.panels):
        what = "the panels differ in adu_per_photon or adu_per_eV"
        raise GeometryError(what, geom.path, "Give --adu-per-photon, one for all.")
    return Experiment(
        geometry,
        {**origin, **_gain_origin(settings, gain, geom.path)},
        in_photons(source, geom, gain or 1.0),
        source,
        gain or 1.0,
        energy.of_frames,
        length.of_frames,
    )


def _from_described(
    settings: GeometrySettings, described: DescribedDetector, source: FrameSource
) -> Experiment:
    """Geometry of a file of another program; what it does not say is taken from the frames'."""
    path, given = described.path, settings.photon_energy_ev or described.photon_energy_ev
    detector, length = detector_by(described, source)
    energy = beam_value("photon_energy_ev", given, None, source)
    if energy.used is None:
        raise GeometryError("the photon energy is not known", path, "Give --photon-energy-ev.")
    origin = dict.fromkeys(("detector", "beam_center"), path)
    origin["camera_length_m"] = path if settings.camera_length_m is None else GIVEN
    own_energy = settings.photon_energy_ev is None and described.photon_energy_ev is not None
    origin["photon_energy_ev"] = path if own_energy else energy.origin
    polarisation, origin["polarisation"] = settings.polarisation, GIVEN
    if polarisation is None:
        polarisation = described.polarisation
        origin["polarisation"] = "assumed" if polarisation is None else path
    try:
        geometry = Geometry(
            detector,
            settings.camera_length_m or length,
            energy.used,
            1.0 if polarisation is None else polarisation,
        )
    except ValueError as error:
        raise GeometryError(str(error), path) from None
    gain = settings.adu_per_photon or described.adu_per_photon
    return Experiment(
        geometry,
        {**origin, **_gain_origin(settings, gain, path)},
        in_photons(source, None, gain or 1.0),
        source,
        gain or 1.0,
        energy.of_frames,
    )


def _gain_origin(settings: GeometrySettings, gain: float | None, file: str) -> dict[str, str]:
    if gain is None:
        return {"adu_per_photon": "assumed"}
    return {"adu_per_photon": GIVEN if settings.adu_per_photon is not None else file}


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
    origin = {"polarisation": "assumed" if settings.polarisation is None else GIVEN}
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
    polarisation = 1.0 if settings.polarisation is None else settings.polarisation
    try:
        geometry = Geometry(detector, length.used, energy.used, polarisation)
    except ValueError as error:
        raise GeometryError(str(error), file) from error
    gain = settings.adu_per_photon
    return Experiment(
        geometry,
        {**origin, **_gain_origin(settings, gain, "")},
        in_photons(source, None, gain or 1.0),
        source,
        gain or 1.0,
        photon_energies_ev=energy.of_frames,
        camera_lengths_m=length.of_frames,
    )
