"""What a finder says of a frame."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hitfinder.export import tables
from hitfinder.finding.lit import Lit
from hitfinder.finding.squares import SquareSums

if TYPE_CHECKING:
    import pyarrow as pa


@dataclasses.dataclass(frozen=True)
class Support:
    """What the score of a hit rests on; see `hitfinder.finding.support`.

    Attributes
    ----------
    kind : str
        Of the strongest thing in doubt, empty if there is none: ``one-pixel`` or ``track``, as a
        cosmic ray leaves them, or ``spot`` if it is the only thing there is.
    n_alone, n_bright : int
        Things that would each make the frame a hit and are bright alone; of these, those far
        brighter than that takes.
    strength : float
        How much brighter the strongest is: its log probability in units of that which is needed.
    score : float
        Score of the frame without the things in doubt.
    fs, ss : float
        Position of the strongest; 0 if there is none.
    nearer : float
        Share of the pixels that are nearer to the beam than the strongest is, of all things if
        none is in doubt.
    n_seen, n_sharp : int
        Bright peaks of the frame, and those of them that have no light beside them.
    n_spots : int
        Things that would each make the frame a hit and look like spots.
    bare_score : float
        Score of the frame without these and the things in doubt.
    """

    kind: str = ""
    n_alone: int = 0
    n_bright: int = 0
    strength: float = 0.0
    score: float = 0.0
    fs: float = 0.0
    ss: float = 0.0
    nearer: float = 0.0
    n_seen: int = 0
    n_sharp: int = 0
    n_spots: int = 0
    bare_score: float = 0.0

    def doubt(self, least_score: float) -> str:
        """Return the kind of the one thing bright alone that a hit rests on; empty if none."""
        return self.kind if self.n_alone == 1 and self.score < least_score else ""


@dataclasses.dataclass(frozen=True, eq=False)
class FrameResult:
    """What was found in one frame. A finder has to tell the first three, the rest if it can.

    Attributes
    ----------
    score : float
        Minus log10 of the share of blank frames that look at least as good.
    hit : bool
        Whether the frame is a hit under the settings.
    peaks : ndarray of PEAK_DTYPE
        Peaks, most significant first.
    photons : int
        Counts on all unmasked pixels.
    background_per_pixel : float
        Mean expected background, in photons per pixel; NaN if no pixel has a reading.
    resolution_a : float
        Resolution within which 95 % of the peaks lie, in Å; NaN without peaks.
    profile : ndarray
        Expected background per pixel in each of `hitfinder.finding.rings.Rings`, in photons; NaN
        if no pixel has a reading; empty if the finder estimates none.
    hit_probability : float
        Of the frame holding a crystal's peaks; NaN without a network or a pixel with a reading.
    counts : ndarray of int32, optional
        The frame as `Proposal.counts` has it; overwritten by the next call. Photon energy and
        camera length are estimated from it.
    lit : Lit, optional
        The pixels of `counts` that hold photons, if they are few.
    squares : tuple of SquareSums
        `counts` in squares, if they are many.
    photon_energy_ev, camera_length_m : float
        Photon energy (eV) and camera length (m), if the finder tells them from the frame; NaN if
        not. They stand in the frame table in place of estimates from `counts`.
    peaks_left_out : bool
        Whether there was more that may be a peak than the finder looks at. The weakest is left out.
    doubt : str
        Why a hit is doubtful: ``one-pixel`` or ``track`` if it would be none without one such
        thing, which a cosmic ray may have left; empty if it is not.
    support : Support, optional
        What the score rests on, by which a run decides on doubtful hits; None where no single thing
        is worth a hit, and the score is none of a hit either.
    """

    score: float
    hit: bool
    peaks: NDArray[np.void]
    photons: int = 0
    background_per_pixel: float = math.nan
    resolution_a: float = math.nan
    profile: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.empty(0))
    hit_probability: float = math.nan
    counts: NDArray[np.int32] | None = None
    lit: Lit | None = None
    squares: tuple[SquareSums, ...] = ()
    photon_energy_ev: float = math.nan
    camera_length_m: float = math.nan
    peaks_left_out: bool = False
    doubt: str = ""
    support: Support | None = None

    def __repr__(self) -> str:
        """Say what was found, not all of the peaks."""
        what = "a hit" if self.hit else "no hit"
        return f"<FrameResult: {what}, score {self.score:.3g}, {len(self.peaks)} peaks>"

    def resting_on(self, support: Support, least_score: float) -> FrameResult:
        """Return the result with what its score rests on, where a hit needs a least score."""
        doubt = support.doubt(least_score) if self.hit else ""
        return dataclasses.replace(self, support=support, doubt=doubt)

    def to_table(self) -> pa.Table:
        """Return the peaks as an Arrow table, which pandas and polars take too.

        Columns, units and meanings are those of a run's table of peaks; units and meanings are in
        the metadata of the fields.

        Examples
        --------
        >>> import hitfinder as hf
        >>> import numpy as np
        >>> geometry = hf.Geometry.flat(
        ...     (96, 96), 75e-6, camera_length_m=0.05, photon_energy_ev=6e3
        ... )
        >>> found = hf.find_peaks(np.zeros((96, 96), np.uint16), geometry)
        >>> found.to_table().column_names[:3]
        ['fs', 'ss', 'photons']
        """
        return tables.peaks_to_arrow(self.peaks)


@dataclasses.dataclass(frozen=True, eq=False)
class Proposal:
    """Everything in a frame that may be a peak, most of it chance.

    Attributes
    ----------
    peaks : ndarray of PEAK_DTYPE
        Most significant first; resolution not filled in.
    log_expected : ndarray of float64
        Natural log of the chance peaks expected at or beyond each.
    photons : int
        Counts on all unmasked pixels.
    rate : ndarray, shape (n_rings,)
        Background per pixel at weight 1 (`Rings.weight`), in photons.
    profile : ndarray, shape (n_rings,)
        Mean expected background per pixel in each ring, in photons.
    counts : ndarray of int32, shape of the geometry
        Counts; -1 where there is no reading, -2 - n for n counts that belong to a peak.
        Overwritten by the next frame.
    n_chance : float
        Peaks expected by chance among those proposed.
    inside : ndarray of float64
        Share of these that lie nearer to the beam than each peak.
    crowded : ndarray of bool, shape (n_rings,)
        Rings that hold no peaks, as they hold too many (`hitfinder.finding.crowded`).
    texture : float
        Variance of the background about its rings' average, relative to it.
    n_read : int
        Unmasked pixels with a reading; without any, there are no peaks and the rates are NaN.
    peaks_left_out : bool
        As of a `FrameResult`.
    pieces : ndarray of PEAK_DTYPE, shape (n,)
        What the peaks that are streaks of several pieces were put together from.
    piece_of : ndarray of int, shape (n,)
        The peak that each piece is of.
    lit : Lit, optional
        As of a `FrameResult`.
    squares : tuple of SquareSums
        As of a `FrameResult`.
    """

    peaks: NDArray[np.void]
    log_expected: NDArray[np.float64]
    photons: int
    rate: NDArray[np.float64]
    profile: NDArray[np.float64]
    counts: NDArray[np.int32]
    n_chance: float
    inside: NDArray[np.float64]
    crowded: NDArray[np.bool_]
    texture: float
    n_read: int
    peaks_left_out: bool
    pieces: NDArray[np.void]
    piece_of: NDArray[np.intp]
    lit: Lit | None = None
    squares: tuple[SquareSums, ...] = ()
