"""Detectors known by name."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import GeometryError
from hitfinder.geometry.detector import Detector


@dataclasses.dataclass(frozen=True)
class ModuleGrid:
    """A regular grid of modules in one frame.

    Parameters
    ----------
    modules : tuple of int
        Modules along (ss, fs).
    module_shape : tuple of int
        Pixels of a module along (ss, fs).
    gap : tuple of int
        Pixels of the frame between modules along (ss, fs), read out but not sensitive.
    pixel_size_m : float
        Pixel edge, in m.
    """

    modules: tuple[int, int]
    module_shape: tuple[int, int]
    gap: tuple[int, int]
    pixel_size_m: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the frame."""
        ss, fs = (
            n * size + (n - 1) * gap
            for n, size, gap in zip(self.modules, self.module_shape, self.gap, strict=True)
        )
        return ss, fs

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """True in the gaps between modules; None if there are none."""
        rows, columns = (
            np.arange(extent) % (size + gap) >= size
            for extent, size, gap in zip(self.shape, self.module_shape, self.gap, strict=True)
        )
        mask = rows[:, None] | columns[None, :]
        return mask if mask.any() else None


def _eiger(ss: int, fs: int) -> ModuleGrid:
    # DECTRIS, EIGER X Detector Series user manual: modules of 1030 x 514 pixels of 75 um, gaps of
    # 10 and 37 pixels, as in the files of these detectors.
    return ModuleGrid((ss, fs), (514, 1030), (37, 10), 75e-6)


def _eiger2(ss: int, fs: int) -> ModuleGrid:
    # DECTRIS, EIGER2 X/XE technical specifications: modules of 1028 x 512 pixels, gaps 12 and 38.
    return ModuleGrid((ss, fs), (512, 1028), (38, 12), 75e-6)


def _pilatus(ss: int, fs: int) -> ModuleGrid:
    # DECTRIS, PILATUS and PILATUS3 technical specifications: modules of 487 x 195 pixels of
    # 172 um, gaps of 7 and 17 pixels.
    return ModuleGrid((ss, fs), (195, 487), (17, 7), 172e-6)


_MOST_NAMED = 5
"""Names of detectors that are suggested."""

_GRIDS = {
    "eiger-x-500k": _eiger(1, 1),
    "eiger-x-1m": _eiger(2, 1),
    "eiger-x-4m": _eiger(4, 2),
    "eiger-x-9m": _eiger(6, 3),
    "eiger-x-16m": _eiger(8, 4),
    "eiger2-x-500k": _eiger2(1, 1),
    "eiger2-x-1m": _eiger2(2, 1),
    "eiger2-x-4m": _eiger2(4, 2),
    "eiger2-x-9m": _eiger2(6, 3),
    "eiger2-x-16m": _eiger2(8, 4),
    # Everett and Kurth (2024), Crystallography Peak Detection at CXLS: one panel without gaps.
    "eiger-4m-report": ModuleGrid((1, 1), (2163, 2069), (0, 0), 75e-6),
    # PSI JUNGFRAU 4M, stored with its gaps: the layout pyFAI calls Jungfrau4M.
    "jungfrau-4m": ModuleGrid((4, 2), (514, 1030), (36, 8), 75e-6),
    "pilatus-100k": _pilatus(1, 1),
    "pilatus-200k": _pilatus(2, 1),
    "pilatus-300k": _pilatus(3, 1),
    "pilatus-300k-w": _pilatus(1, 3),
    "pilatus-900k": _pilatus(3, 3),
    "pilatus-1m": _pilatus(5, 2),
    "pilatus-2m": _pilatus(8, 3),
    "pilatus-6m": _pilatus(12, 5),
}


def detectors() -> list[str]:
    """Return the names of the detectors that are known without further libraries, sorted.

    Examples
    --------
    >>> import hitfinder as hf
    >>> "eiger2-x-4m" in hf.detectors()
    True
    """
    return sorted(_GRIDS)


def detector_shape(name: str) -> tuple[int, int]:
    """Return the rows and columns of a frame of one of `detectors`."""
    return _GRIDS[name].shape


def detector_modules(name: str) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return the modules of one of `detectors`, the pixels of a module, and the gaps: (ss, fs)."""
    grid = _GRIDS[name]
    return grid.modules, grid.module_shape, grid.gap


def named_detector(name: str) -> Detector:
    """Return a detector by its name.

    The frame is one panel with fs along +x and ss along +y, the beam axis through its middle, and
    the gaps between modules masked; `Detector.with_beam_center` moves the beam. PILATUS3
    detectors share the layout of the PILATUS of the same size. With pyFAI installed, the names of
    its detectors with flat, uniform pixels are known too.

    Parameters
    ----------
    name : str
        One of `detectors`, in any case, with ``-``, ``_``, spaces or nothing between the
        words.

    Raises
    ------
    GeometryError
        If the name is unknown, listing the nearest ones, or stands for a detector whose pixels
        are not the same all over.
    """
    key = _key(name)
    own = {_key(known): known for known in _GRIDS}
    # The third generation keeps the layout: pilatus3-2m, pilatus3-x-6m.
    plain = key.replace("pilatus3x", "pilatus").replace("pilatus3", "pilatus", 1)
    for candidate in (key, plain):
        if candidate in own:
            known = own[candidate]
            grid = _GRIDS[known]
            return Detector.flat(grid.shape, grid.pixel_size_m, name=known, mask=grid.mask)
    others = _pyfai_names()
    if key in others:
        return _from_pyfai(others[key])
    near = _closest(key, {**others, **own})
    if near:
        hint = f"Close names: {', '.join(near)}; 'hitfinder detectors' lists all"
    else:
        hint = f"known: {', '.join(own.values())}"
    raise GeometryError(f"no detector is called {name!r}", hint=hint)


def _closest(key: str, names: dict[str, str]) -> list[str]:
    """Return the nearest names: those that have all the letters in order, then alike ones."""

    def has_all(known: str) -> bool:
        letters = iter(known)
        return all(letter in letters for letter in key)

    complete = sorted((known for known in names if has_all(known)), key=len)
    alike = difflib.get_close_matches(key, names, n=_MOST_NAMED, cutoff=0.6)
    found = dict.fromkeys(names[known] for known in [*complete, *alike])
    return list(found)[:_MOST_NAMED]


def _key(name: str) -> str:
    return "".join(c for c in name.lower() if c not in "-_ ")


def _pyfai_names() -> dict[str, str]:
    """Names of pyFAI's registry by their key; empty if pyFAI is not installed."""
    if importlib.util.find_spec("pyFAI") is None:
        return {}
    from pyFAI.detectors import ALL_DETECTORS

    return {_key(name): name for name in sorted(ALL_DETECTORS)}


def _from_pyfai(name: str) -> Detector:
    from pyFAI.detectors import detector_factory

    found = detector_factory(name)
    shape, pixel_m = found.shape, (found.pixel1, found.pixel2)
    if shape is None or None in pixel_m or not (found.uniform_pixel and found.IS_FLAT):
        raise GeometryError(
            f"detector {name!r} has no single flat grid of equal pixels",
            hint="describe it in a CrystFEL .geom file",
        )
    edges = float(pixel_m[0]), float(pixel_m[1])
    return Detector.flat(shape, edges, name=name, mask=found.mask)
