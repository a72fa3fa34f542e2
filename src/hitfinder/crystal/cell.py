"""Unit cell and reciprocal lattice."""

from __future__ import annotations

import dataclasses
import functools
import math

import gemmi
import numpy as np
from numpy.typing import NDArray

LONGEST_A = 10_000.0
"""Edge in Å beyond which a cell is taken for an error; those of viruses reach some 2000."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A unit cell.

    Parameters
    ----------
    a, b, c : float
        Edges, in Å.
    alpha, beta, gamma : float
        Angles, in degrees.

    Raises
    ------
    ValueError
        If an edge is not positive or longer than any, or the angles span no volume.
    """

    a: float
    b: float
    c: float
    alpha: float = 90.0
    beta: float = 90.0
    gamma: float = 90.0

    def __post_init__(self) -> None:
        values = dataclasses.astuple(self)
        if not all(math.isfinite(v) for v in values) or min(values[:3]) <= 0:
            raise ValueError(f"cell edges must be positive, got {self}")
        if max(values[:3]) > LONGEST_A:
            raise ValueError(f"cell edges must be at most {LONGEST_A:g} Å, got {self}")
        if not all(0 < v < 180 for v in values[3:]):
            raise ValueError(f"cell angles must be in 0 to 180 degrees, got {self}")
        if self._unit_volume_squared() < 1e-6:
            raise ValueError(f"cell angles span no volume: {self}")

    def __str__(self) -> str:
        return " ".join(f"{v:g}" for v in dataclasses.astuple(self))

    def _unit_volume_squared(self) -> float:
        ca, cb, cg = (math.cos(math.radians(v)) for v in (self.alpha, self.beta, self.gamma))
        return 1 - ca * ca - cb * cb - cg * cg + 2 * ca * cb * cg

    @property
    def volume_a3(self) -> float:
        """Volume, in Å³."""
        return self.a * self.b * self.c * math.sqrt(self._unit_volume_squared())

    @functools.cached_property
    def direct(self) -> NDArray[np.float64]:
        """Columns a, b, c in Å: a along x, b in the xy plane (the usual PDB setting)."""
        ca, cb, cg = (math.cos(math.radians(v)) for v in (self.alpha, self.beta, self.gamma))
        sg = math.sin(math.radians(self.gamma))
        z = math.sqrt(self._unit_volume_squared()) / sg
        return np.array(
            [
                [self.a, self.b * cg, self.c * cb],
                [0.0, self.b * sg, self.c * (ca - cb * cg) / sg],
                [0.0, 0.0, self.c * z],
            ]
        )

    @functools.cached_property
    def reciprocal(self) -> NDArray[np.float64]:
        """Columns a*, b*, c* in Å⁻¹ without the factor 2π: a reflection lies at B h."""
        return np.asarray(np.linalg.inv(self.direct).T, np.float64)

    def inv_d_squared(self, hkl: NDArray) -> NDArray[np.float64]:
        """1/d² in Å⁻² of reflections, shape (n, 3) to (n,)."""
        g = np.asarray(hkl, np.float64) @ self.reciprocal.T
        return np.asarray((g * g).sum(axis=1), np.float64)

    def as_gemmi(self) -> gemmi.UnitCell:
        """Return the cell as gemmi's type."""
        return gemmi.UnitCell(*dataclasses.astuple(self))

    @staticmethod
    def parse(text: str) -> Cell:
        """Read ``a,b,c[,alpha,beta,gamma]``, separated by commas or blanks.

        Raises
        ------
        ValueError
            If there are not three or six numbers, or they make no cell.
        """
        parts = text.replace(",", " ").split()
        try:
            values = [float(part) for part in parts]
        except ValueError:
            values = []
        if len(values) not in (3, 6):
            raise ValueError(f"a cell is three edges in Å, or those and three angles, got {text!r}")
        return Cell(*values)

    def disagreement(self, other: Cell) -> float:
        """Return the largest difference of an edge (relative) or angle (in rad)."""
        mine, theirs = np.array(dataclasses.astuple(self)), np.array(dataclasses.astuple(other))
        edges = np.abs(mine[:3] / theirs[:3] - 1).max()
        return float(max(edges, np.radians(np.abs(mine[3:] - theirs[3:])).max()))
