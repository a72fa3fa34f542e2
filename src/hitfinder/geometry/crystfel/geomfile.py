"""What a CrystFEL geometry file says, and the detector that follows from it."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import GeometryError
from hitfinder.geometry.crystfel.entries import BadRegion, PanelEntry
from hitfinder.geometry.crystfel.masks import data_masks, file_masks, static_mask
from hitfinder.geometry.crystfel.stored import value_of
from hitfinder.geometry.crystfel.text import Quantity
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.layout import Dim, FrameLayout, Slab, filled

_OPTIONS = {
    "photon energy": "give it with --photon-energy-ev",
    "camera length": "give it with --camera-length-m",
}


@dataclasses.dataclass(frozen=True)
class GeomFile:
    """A CrystFEL geometry file.

    Parameters
    ----------
    path : str
        The file.
    panels : tuple of PanelEntry
        In the order in which the file first names them.
    bad_regions : tuple of BadRegion
        Regions to be ignored.
    photon_energy : Quantity, optional
        Photon energy, or where it is kept; also what ``wavelength`` said.
    shift_x, shift_y : Quantity, optional
        Shift of the whole detector, or where it is kept.
    bandwidth : float, optional
        Relative bandwidth (standard deviation of a Gaussian spectrum).
    peak_list, peak_list_type : str, optional
        Where in the data files peaks are kept, and how.
    groups : tuple of str
        Lines that group panels for refinement, as they stand.
    warnings : tuple of str
        Lines that were not understood or have no effect, each with file and line.
    """

    path: str
    panels: tuple[PanelEntry, ...]
    bad_regions: tuple[BadRegion, ...] = ()
    photon_energy: Quantity | None = None
    shift_x: Quantity | None = None
    shift_y: Quantity | None = None
    bandwidth: float | None = None
    peak_list: str | None = None
    peak_list_type: str | None = None
    groups: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @functools.cached_property
    def layout(self) -> FrameLayout:
        """How the stored frame is made of the datasets the panels name."""
        paths = list(dict.fromkeys(p.data for p in self.panels))
        members: dict[tuple[str | None, tuple[Dim, ...]], list[PanelEntry]] = {}
        for panel in self.panels:
            members.setdefault(panel.slab_key, []).append(panel)

        def place(key: tuple[str | None, tuple[Dim, ...]]) -> tuple[int, list[int]]:
            return paths.index(key[0]), [d for d in key[1] if isinstance(d, int)]

        slabs: list[Slab] = []
        start = 0
        for key in sorted(members, key=place):
            n_ss = 1 + max(p.max_ss for p in members[key])
            n_fs = 1 + max(p.max_fs for p in members[key])
            slabs.append(Slab(key[0], key[1], start, n_ss, n_fs))
            start += n_ss
        return FrameLayout(tuple(slabs))

    @functools.cached_property
    def placed(self) -> tuple[Panel, ...]:
        """The panels in the stored frame, in the order of `panels`; unknown shifts count as 0."""
        starts = {(slab.data_path, slab.dims): slab.ss_start for slab in self.layout.slabs}
        shift_x, shift_y = (q.value or 0.0 if q else 0.0 for q in (self.shift_x, self.shift_y))
        first = self.panels[0]
        panels = []
        for entry in self.panels:
            offset = entry.coffset_m - first.coffset_m
            # Panels may have camera lengths of their own; one length serves them all here.
            if entry.clen and first.clen and entry.clen != first.clen:
                offset += (entry.clen.value or 0.0) - (first.clen.value or 0.0)
            panels.append(
                Panel(
                    entry.name,
                    fs_start=entry.min_fs,
                    ss_start=starts[entry.slab_key] + entry.min_ss,
                    n_fs=entry.max_fs - entry.min_fs + 1,
                    n_ss=entry.max_ss - entry.min_ss + 1,
                    corner_x=entry.corner_x + shift_x * entry.res,
                    corner_y=entry.corner_y + shift_y * entry.res,
                    fs_vector=entry.fs,
                    ss_vector=entry.ss,
                    pixel_size_m=1 / entry.res,
                    coffset_m=offset,
                )
            )
        return tuple(panels)

    @property
    def photon_energy_ev(self) -> float | None:
        """Photon energy in eV; None if the file names none or only says where it is kept."""
        return self.photon_energy.value if self.photon_energy else None

    @property
    def full_bandwidth(self) -> float | None:
        """Full width of the top-hat spectrum that spreads as much as `bandwidth`, relative."""
        return None if self.bandwidth is None else math.sqrt(12) * self.bandwidth

    @property
    def clen(self) -> Quantity | None:
        """What the file says of the first panel's camera length, without its ``coffset``."""
        return self.panels[0].clen

    @property
    def camera_length_m(self) -> float | None:
        """Distance to the first panel, ``clen + coffset``, in m; None if not (yet) known.

        ``clen`` alone may be a motor position that is far from the distance, even negative.
        """
        if self.clen is None or self.clen.value is None:
            return None
        return self.clen.value + self.panels[0].coffset_m

    @property
    def unresolved(self) -> tuple[str, ...]:
        """Places in the data file that hold what this file leaves open; see `resolve`."""
        quantities = (self.photon_energy, self.clen, self.shift_x, self.shift_y)
        return tuple(q.location for q in quantities if q and q.value is None and q.location)

    def resolve(self, h5file: Any, index: int = 0, group: str = "") -> GeomFile:
        """Read the values that this file leaves to the data file.

        Parameters
        ----------
        h5file : h5py.File or h5py.Group
            An open data file.
        index : int
            Frame; a value kept once stands for all frames.
        group : str
            Names of the frame's groups, put in place of ``%`` in paths.

        Returns
        -------
        GeomFile
            The same with numbers in place of locations.

        Raises
        ------
        GeometryError
            If a path is not in the file, or holds no number for this frame.
        """

        def known(q: Quantity | None) -> Quantity | None:
            if q is None or q.value is not None or q.location is None:
                return q
            stored = value_of(h5file, filled(q.location, group), index)
            try:
                return dataclasses.replace(q, value=q.convert(stored))
            except ValueError as error:
                raise GeometryError(str(error), f"{h5file.file.filename}:{q.location}") from None

        panels = self.panels
        if self.clen is not None and self.clen.value is None:
            # A camera length in the data file is the same for all panels, so one read does.
            clen = known(self.clen)
            panels = tuple(dataclasses.replace(p, clen=clen) for p in panels)
        return dataclasses.replace(
            self,
            panels=panels,
            photon_energy=known(self.photon_energy),
            shift_x=known(self.shift_x),
            shift_y=known(self.shift_y),
        )

    @property
    def _entries(self) -> list[tuple[PanelEntry, Panel]]:
        return list(zip(self.panels, self.placed, strict=True))

    @property
    def names_data_masks(self) -> bool:
        """Whether this file says that masks are kept beside the data."""
        return any(place.file is None for panel in self.panels for place in panel.masks)

    def data_mask(self, h5file: Any, index: int = 0, group: str = "") -> NDArray[np.bool_] | None:
        """Read the masks that this file says are kept beside the data.

        Parameters
        ----------
        h5file, index, group
            As for `resolve`.

        Returns
        -------
        ndarray of bool, shape of `layout`, or None
            True where a pixel is to be ignored; None if no mask is kept beside the data.

        Raises
        ------
        GeometryError
            If a mask is not in the file or does not hold the panels' pixels.
        """
        return data_masks(self.layout, self._entries, h5file, index, group)

    def flagged(self, frame: NDArray[Any]) -> NDArray[np.bool_]:
        """Return True where a count of this frame marks its pixel as bad.

        Counts that are not finite always do; ``flag_lessthan``, ``flag_morethan`` and
        ``flag_equal`` add to them on their panels.
        """
        counted = frame.dtype.kind in "iub"
        bad = np.zeros(frame.shape, bool) if counted else ~np.isfinite(frame)
        for entry, panel in zip(self.panels, self.placed, strict=True):
            for flag in entry.flags:
                bad[panel.slices] |= flag.bad(frame[panel.slices])
        return bad

    def adu_per_photon(self, photon_energy_ev: float | None = None) -> float | None:
        """Detector units per photon; None if the file does not say, or panels differ.

        Parameters
        ----------
        photon_energy_ev : float, optional
            Photon energy in eV, needed where the file gives ``adu_per_eV`` and leaves the energy
            to the data file.
        """
        energy = photon_energy_ev or self.photon_energy_ev
        scales = set()
        for panel in self.panels:
            scale = panel.adu_per_photon
            if scale is None and panel.adu_per_ev is not None and energy:
                scale = panel.adu_per_ev * energy
            scales.add(scale)
        return scales.pop() if len(scales) == 1 else None

    def geometry(
        self,
        photon_energy_ev: float | None = None,
        camera_length_m: float | None = None,
        *,
        shape: tuple[int, int] | None = None,
        polarisation: float = 1.0,
    ) -> Geometry:
        """Make the geometry that this file describes.

        Parameters
        ----------
        photon_energy_ev, camera_length_m : float, optional
            Photon energy in eV and distance to the first panel in m, in place of what the file
            says.
        shape : tuple of int, optional
            Rows and columns of the stored frame, where it is larger than the panels reach; pixels
            outside are on no panel.
        polarisation : float
            Fraction of the beam polarised along x, which these files do not tell.

        Raises
        ------
        GeometryError
            If an energy or length is neither given nor in the file, a mask file cannot be read,
            or `shape` is smaller than the panels need.
        """
        for name, shift in (("detector_shift_x", self.shift_x), ("detector_shift_y", self.shift_y)):
            if shift is not None:
                self._known(None, shift, name)
        energy = self._known(photon_energy_ev, self.photon_energy, "photon energy")
        length = self._known(camera_length_m, self.clen, "camera length")
        if camera_length_m is None:
            length += self.panels[0].coffset_m
        try:
            return Geometry(self.detector(shape), length, energy, polarisation)
        except ValueError as error:
            raise GeometryError(str(error), self.path) from None

    def detector(self, shape: tuple[int, int] | None = None) -> Detector:
        """Make the detector, masked as this file and its mask files say; see `geometry`."""
        needed = self.layout.shape
        size = shape or needed
        if size[0] < needed[0] or size[1] < needed[1]:
            what = f"the panels need frames of {needed[0]} x {needed[1]} pixels"
            raise GeometryError(f"{what}, these have {size[0]} x {size[1]}", self.path)
        mask = np.zeros(size, bool)
        within = mask[: needed[0], : needed[1]]
        within |= static_mask(self.layout, self._entries, self.bad_regions)
        from_files = file_masks(self.layout, self._entries, self.path)
        if from_files is not None:
            within |= from_files
        limits = [p.max_adu for p in self.panels if p.max_adu is not None]
        saturation = min(limits) if limits else None
        stored = mask if mask.any() else None
        return Detector(Path(self.path).stem, size, self.placed, stored, saturation)

    def _known(self, given: float | None, said: Quantity | None, name: str) -> float:
        if given is not None:
            return given
        if said is not None and said.value is not None:
            return said.value
        hint = _OPTIONS.get(name, "")
        if said is not None and said.location is not None:
            what = f"the {name} is kept in the data file, at {said.location}"
            raise GeometryError(what, self.path, hint)
        raise GeometryError(f"says nothing of the {name}", self.path, hint)
