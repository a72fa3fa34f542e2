"""Settings that are known to be usable before a detector is waited for."""

from __future__ import annotations

from pathlib import Path

from hitfinder.errors import ConfigError, GeometryError
from hitfinder.experiment.settings import GeometrySettings
from hitfinder.finding.registry import FINDERS
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.crystfel.geomfile import GeomFile
from hitfinder.geometry.files import read_geometry
from hitfinder.geometry.mask import mask_file, read_mask
from hitfinder.geometry.named import named_detector
from hitfinder.io.readers import READERS
from hitfinder.job.outputs.registry import make_outputs
from hitfinder.job.settings import JobSettings
from hitfinder.network import model as peak_model


def check_settings(settings: JobSettings) -> None:
    """Refuse settings that cannot be used, whatever frames come.

    Parameters
    ----------
    settings : JobSettings
        Everything that can be set about a run.

    Raises
    ------
    HitfinderError
        If the finder, its network, an output, the reader, the geometry file, the detector or the
        mask is none.
    """
    _check_finder(settings.finder)
    make_outputs(settings.output)
    if settings.reader is not None:
        READERS.find(settings.reader)
    _check_geometry(settings.geometry)


def _check_finder(settings: FinderSettings) -> None:
    FINDERS.find(settings.finder)
    if settings.finder == "network":
        peak_model.load(settings.model)


def _check_geometry(settings: GeometrySettings) -> None:
    if settings.adu_per_photon not in (None, 1.0):
        raise counts_are_photons(settings)
    if settings.file is not None:
        geom = read_geometry(settings.file)
        if isinstance(geom, GeomFile):
            geom.detector()
    if settings.detector is not None:
        shape = named_detector(settings.detector).shape
        if settings.mask is not None:
            read_mask(settings.mask, shape)
    elif settings.mask is not None and not Path(mask_file(settings.mask)).is_file():
        raise GeometryError("there is no such mask file", settings.mask)


def counts_are_photons(settings: GeometrySettings) -> ConfigError:
    """Return the error of settings by which the counts of a stream would be something else."""
    what = "the counts of a stream are photons as they come"
    hint = "Leave out --adu-per-photon, and flags of the geometry file."
    return ConfigError(what, settings.file or "", hint)
