"""The geometry of a job: from a geometry file, a detector's name, or the frames' own files."""

from __future__ import annotations

import dataclasses
import logging

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import GeometryError
from hitfinder.geometry.crystfel import GeomFile, read_geom
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.experiment import Geometry
from hitfinder.geometry.mask import read_mask
from hitfinder.geometry.named import detector_names, named_detector
from hitfinder.inference.counts import in_photons
from hitfinder.inference.settings import GeometrySettings
from hitfinder.io.source import FrameSource, Metadata

log = logging.getLogger(__name__)

GIVEN, FROM_FILE = "settings", "the frames' file"


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
    """Where the pixels are, and how it is known.

    Attributes
    ----------
    geometry : Geometry
        Detector with its mask, camera length and beam.
    origin : dict
        For each property of the geometry, where its value was taken from.
    source : FrameSource
        The frames, in photons.
    adu_per_photon : float
        Stored value of one photon.
    energy_in_files, length_in_files : bool
        Whether photon energy and camera length are those of the files, where they may differ
        from frame to frame.
    """

    geometry: Geometry
    origin: dict[str, str]
    source: FrameSource
    adu_per_photon: float = 1.0
    energy_in_files: bool = False
    length_in_files: bool = False

    def of_frame(self, index: int) -> tuple[float | None, float | None]:
        """Return a frame's own photon energy (eV) and camera length (m), None where common."""
        if not (self.energy_in_files or self.length_in_files):
            return None, None
        said = self.source.frame_metadata(index)
        energy = said.photon_energy_ev if self.energy_in_files else None
        return energy, said.camera_length_m if self.length_in_files else None

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


def read_geometry_file(settings: GeometrySettings) -> GeomFile | None:
    """Read the geometry file of the settings, if they name one."""
    if settings.file is None:
        return None
    geom = read_geom(settings.file)
    for warning in geom.warnings:
        log.warning("%s", warning)
    return geom


def set_up(settings: GeometrySettings, geom: GeomFile | None, source: FrameSource) -> Setup:
    """Put together the geometry of a job.

    Parameters
    ----------
    settings : GeometrySettings
        What the user says; it comes before everything else.
    geom : GeomFile, optional
        The geometry file, before the files' own description.
    source : FrameSource
        Frames, with what their files say.

    Raises
    ------
    GeometryError
        If something is not to be had anywhere, naming the option that gives it, or does not fit
        the frames.
    """
    said = source.metadata
    if geom is not None:
        setup = _from_geom(settings, geom, source)
    else:
        setup = _from_names(settings, source)
    detector, origin = setup.geometry.detector, setup.origin
    masks = []
    if said.mask is not None and said.mask.shape == detector.shape:
        detector = detector.with_mask(said.mask)
        masks.append(FROM_FILE)
    if settings.mask is not None:
        detector = detector.with_mask(read_mask(settings.mask, detector.shape))
        masks.append(settings.mask)
    if settings.beam_center is not None:
        detector = detector.with_beam_center(*settings.beam_center)
        origin["beam_center"] = GIVEN
    if detector.saturation is None and said.saturation is not None:
        detector = dataclasses.replace(detector, saturation=said.saturation)
        origin["saturation"] = FROM_FILE
    origin["masked_pixels"] = " and ".join(masks) or origin["detector"]
    return dataclasses.replace(
        setup, geometry=dataclasses.replace(setup.geometry, detector=detector)
    )


def _from_geom(settings: GeometrySettings, geom: GeomFile, source: FrameSource) -> Setup:
    """Geometry of a geometry file, with what it leaves to the data files read from them."""
    said, named = source.metadata, geom
    geom, data_mask = _resolve(settings, geom, source)
    energy, energy_from = _first(
        (settings.photon_energy_ev, GIVEN),
        (geom.photon_energy_ev, geom.path),
        (said.photon_energy_ev, FROM_FILE),
    )
    length, length_from = _first(
        (settings.camera_length_m, GIVEN),
        (geom.camera_length_m, geom.path),
        (said.camera_length_m, FROM_FILE),
    )
    polarisation = 1.0 if settings.polarisation is None else settings.polarisation
    geometry = geom.geometry(energy, length, shape=source.shape, polarisation=polarisation)
    if data_mask is not None:
        whole = np.zeros(geometry.shape, bool)
        whole[: data_mask.shape[0], : data_mask.shape[1]] = data_mask
        geometry = dataclasses.replace(geometry, detector=geometry.detector.with_mask(whole))
    origin = {
        "detector": geom.path,
        "photon_energy_ev": energy_from,
        "camera_length_m": length_from,
        "beam_center": geom.path,
        "polarisation": "assumed" if settings.polarisation is None else GIVEN,
        "saturation": geom.path,
    }
    return Setup(
        geometry,
        origin,
        in_photons(source, geom, geometry.photon_energy_ev),
        geom.adu_per_photon(geometry.photon_energy_ev) or 1.0,
        settings.photon_energy_ev is None and named.photon_energy_ev is None,
        settings.camera_length_m is None and named.camera_length_m is None,
    )


def _resolve(
    settings: GeometrySettings, geom: GeomFile, source: FrameSource
) -> tuple[GeomFile, NDArray[np.bool_] | None]:
    """Read from the first readable file what a geometry file leaves to the data files."""
    refs = (source.ref(i) for i in range(len(source)))
    ref = next((ref for ref in refs if h5py.is_hdf5(ref.file)), None)
    if ref is None:
        return geom, None
    group = ref.event.partition("//")[0].lstrip("/")
    with h5py.File(ref.file, "r") as file:
        try:
            geom = geom.resolve(file, 0, group)
        except GeometryError:
            # What cannot be read is not needed if the user gives it.
            if settings.photon_energy_ev is None or settings.camera_length_m is None:
                raise
        return geom, geom.data_mask(file, 0, group)


def _from_names(settings: GeometrySettings, source: FrameSource) -> Setup:
    """Geometry of a detector known by name or recognised, placed as its files say."""
    said = source.metadata
    origin = {"polarisation": "assumed" if settings.polarisation is None else GIVEN}
    if settings.detector is not None:
        detector, origin["detector"] = named_detector(settings.detector), GIVEN
        if detector.shape != source.shape:
            raise GeometryError(
                f"frames are {source.shape[0]} x {source.shape[1]} pixels, detector "
                f"{detector.name!r} has {detector.shape[0]} x {detector.shape[1]}",
                source.ref(0).file,
            )
    else:
        detector, origin["detector"] = recognise(source.shape, said)
    energy, origin["photon_energy_ev"] = _first(
        (settings.photon_energy_ev, GIVEN), (said.photon_energy_ev, FROM_FILE)
    )
    length, origin["camera_length_m"] = _first(
        (settings.camera_length_m, GIVEN), (said.camera_length_m, FROM_FILE)
    )
    file = source.ref(0).file
    if energy is None:
        raise GeometryError("the photon energy is not known", file, "Give --photon-energy-ev.")
    if length is None:
        raise GeometryError("the camera length is not known", file, "Give --camera-length-m.")
    origin["beam_center"] = "assumed"
    if said.beam_center is not None:
        detector = detector.with_beam_center(*said.beam_center)
        origin["beam_center"] = FROM_FILE
    polarisation = 1.0 if settings.polarisation is None else settings.polarisation
    try:
        geometry = Geometry(detector, length, energy, polarisation)
    except ValueError as error:
        raise GeometryError(str(error), file) from error
    return Setup(
        geometry,
        origin,
        source,
        energy_in_files=settings.photon_energy_ev is None,
        length_in_files=settings.camera_length_m is None,
    )


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
    named = [d for d in map(named_detector, detector_names()) if d.shape == shape]
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
    panel = Panel(
        "p0", 0, 0, columns, rows, -columns / 2, -rows / 2, pixel_size_m=said.pixel_size_m
    )
    name = said.detector or "unnamed detector"
    return Detector(name, shape, (panel,)), f"{FROM_FILE}: shape and pixel size"


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


def _first(*choices: tuple[float | None, str]) -> tuple[float | None, str]:
    return next(((value, origin) for value, origin in choices if value is not None), (None, ""))
