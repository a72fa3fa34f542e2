"""Opening frames and finding out where their pixels are."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np

from hitfinder.executors.contract import Executor
from hitfinder.experiment.beam import FROM_FILE, GIVEN
from hitfinder.experiment.experiment import Experiment
from hitfinder.experiment.gain import check_gain
from hitfinder.experiment.masks import masks_of
from hitfinder.experiment.noise import check_calibrated, noise_of
from hitfinder.experiment.photons import MaskedSource, in_photons, unread_flags
from hitfinder.experiment.placing import placed
from hitfinder.experiment.settings import GeometrySettings
from hitfinder.geometry.crystfel import GeomFile, directives_of
from hitfinder.geometry.files import read_geometry
from hitfinder.geometry.foreign.described import DescribedDetector
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.mask import MOST_MASKED, read_mask
from hitfinder.io.frame_choice import FrameChoice, choice_text, choose_frames
from hitfinder.io.open import Input, check_readable
from hitfinder.io.open import open as open_frames
from hitfinder.io.source import FrameSource

log = logging.getLogger(__name__)


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
    executor: Executor | None = None,
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
    executor : Executor, optional
        Has files opened, where there are many; by default this process opens them.

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
    layout = geom.layout if geom else None
    stored = open_frames(inputs, layout=layout, reader=reader, executor=executor)
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
    experiment = placed(settings, geom, source, geometry)
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
    if stored is not None and (origin or geom is None):
        # Counts are clipped there, while CrystFEL looks for larger ones.
        whole = source.dtype.kind in "iu"
        if not (whole and stored >= np.iinfo(source.dtype).max):
            max_adu = stored - 1 if whole else float(np.nextafter(np.float32(stored), 0))
    unread = unread_flags(source.dtype, scale, noisy=experiment.noise is not None)
    directives = directives_of(geom, unread, max_adu)
    if stored is not None:
        detector = dataclasses.replace(detector, saturation=stored / scale)
    return dataclasses.replace(experiment.with_detector(detector, **origin), directives=directives)
