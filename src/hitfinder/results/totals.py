"""What is added up over the frames of a run."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hitfinder.estimate.run import RunSums
from hitfinder.results.binned import ImageMaximum, ImageSum
from hitfinder.sums import ExactSum


class ProfileSum:
    """Radial profiles added up; keeps `hitfinder.results.contract.Mergeable`."""

    def __init__(self) -> None:
        self._total, self._n = ExactSum((0,)), np.zeros(0, np.int64)

    def add(self, profile: NDArray[np.floating]) -> None:
        """Add the profile of a frame, NaN where it has none.

        Raises
        ------
        ValueError
            If others have another number of bins.
        """
        self._check(len(profile))
        if not len(self._n):
            self._total, self._n = ExactSum(profile.shape), np.zeros(profile.shape, np.int64)
        finite = np.isfinite(profile)
        self._total.add(np.where(finite, profile, 0))
        self._n = self._n + finite

    def merge(self, other: Self) -> None:
        """Add the profiles of other frames.

        Raises
        ------
        ValueError
            If they have another number of bins.
        """
        if not len(other._n):
            return
        if not len(self._n):
            self._total, self._n = copy.deepcopy(other._total), other._n.copy()
            return
        self._check(len(other._n))
        self._total.merge(other._total)
        self._n = self._n + other._n

    def _check(self, n_bins: int) -> None:
        if n_bins != len(self._n) > 0:
            raise ValueError(f"profiles of {n_bins} bins among those of {len(self._n)}")

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over the frames in each bin, NaN where there never was a value."""
        return np.where(self._n > 0, self._total.value / np.maximum(self._n, 1), np.nan)

    @property
    def n_frames(self) -> NDArray[np.int64]:
        """Frames that had a value in each bin."""
        return self._n

    def to_array(self) -> NDArray[np.int64]:
        """Return everything as one array."""
        return np.vstack([self._total.to_array(), self._n])

    @staticmethod
    def from_array(array: NDArray[np.int64]) -> ProfileSum:
        """Return the sum that `to_array` has given."""
        made = ProfileSum()
        made._total, made._n = ExactSum.from_array(array[:2]), array[2].copy()
        return made


@dataclasses.dataclass(eq=False)
class Totals:
    """Sums over frames; keeps `hitfinder.results.contract.Mergeable`.

    Attributes
    ----------
    image : ImageSum
        The frames at reduced size, added up.
    maximum : ImageMaximum
        The most counts of each pixel in any frame, at reduced size; empty in folders that do not
        tell.
    profile : ProfileSum
        Their expected background by radial bin.
    geometry : RunSums, optional
        What they say of photon energy and camera length; None if that was not asked for.
    """

    image: ImageSum = dataclasses.field(default_factory=ImageSum)
    maximum: ImageMaximum = dataclasses.field(default_factory=ImageMaximum)
    profile: ProfileSum = dataclasses.field(default_factory=ProfileSum)
    geometry: RunSums | None = None

    def merge(self, other: Self) -> None:
        """Add the sums over other frames.

        Raises
        ------
        ValueError
            If they are of another detector.
        """
        self.image.merge(other.image)
        self.maximum.merge(other.maximum)
        self.profile.merge(other.profile)
        if self.geometry is None:
            self.geometry = copy.deepcopy(other.geometry)
        elif other.geometry is not None:
            self.geometry.merge(other.geometry)

    def to_arrays(self) -> dict[str, NDArray[np.int64]]:
        """Return everything as arrays by name."""
        arrays = {name: getattr(self, name).to_array() for name in ("image", "maximum", "profile")}
        if self.geometry is not None:
            arrays["geometry"] = self.geometry.to_array()
            arrays["n_rings"] = np.array(self.geometry.n_rings)
        return arrays

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[np.int64]]) -> Totals:
        """Return the sums that `to_arrays` has given."""
        geometry = None
        if "geometry" in arrays:
            geometry = RunSums.from_array(int(arrays["n_rings"]), arrays["geometry"])
        return Totals(
            ImageSum.from_array(arrays["image"]),
            ImageMaximum.from_array(arrays.get("maximum", np.empty((0, 0), np.int64))),
            ProfileSum.from_array(arrays["profile"]),
            geometry,
        )
