"""Where HDF5 files keep the mask of their frames."""

from __future__ import annotations

import dataclasses
import hashlib
import re

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.io.links import NOT_THERE, at_path
from hitfinder.io.nexus import Fields

MASKS = (
    "{detector}/pixel_mask",
    "{detector}/detectorSpecific/pixel_mask",
    "{detector}/threshold_1_channel/pixel_mask",
    "{detector}/mask",
    "entry_1/data_1/mask",
    "entry/data/mask",
    "mask",
)
_BESIDE = ("mask", "pixel_mask")
"""Names of a mask in the group of the frames themselves, which is looked at first if `MASKS` does
not have it."""

GOOD_BITS_CXI = 1 << 11 | 1 << 13 | 1 << 14
"""Bits of a CXI mask that tell of a good pixel: an artefact or the photon background was corrected,
or the pixel is of a peak, which Cheetah marks in the masks of its hits. The other bits are reasons
to ignore a pixel (Maia, The Coherent X-ray Imaging Data Bank, Nat. Methods 9, 854 (2012))."""

_CXI_ENTRY = re.compile(r"/?entry_\d+/")

_MOST_CHUNKS = 1024
"""Chunks of a mask that are looked at to tell whether it is that of another file."""


@dataclasses.dataclass(frozen=True)
class StoredMask:
    """Where a file keeps its mask, and how.

    Parameters
    ----------
    path : str
        HDF5 path.
    of_frames : bool
        Whether there is one for each frame, along the first axis.
    of_modules : bool
        Whether modules are stored apart, to be joined along ss as the frame is.
    content : bytes
        See `hitfinder.io.source.MaskKey`.
    """

    path: str
    of_frames: bool = False
    of_modules: bool = False
    content: bytes = b""

    @property
    def good_bits(self) -> int:
        """Bits that are no reason to ignore a pixel."""
        return GOOD_BITS_CXI if _CXI_ENTRY.match(self.path) else 0

    def read(
        self, file: h5py.File, shape: tuple[int, int], index: int = 0
    ) -> NDArray[np.unsignedinteger]:
        """Read a frame's mask in the file's own bits, shape of a frame; 0 is a good pixel."""
        dataset = at_path(file, self.path)
        assert isinstance(dataset, h5py.Dataset)
        kept = 3 if self.of_modules else 2
        lead = dataset.ndim - kept
        first = (index if self.of_frames else 0,) if lead else ()
        bits = dataset[first + (0,) * (lead - 1)] if lead else dataset[()]
        return bits.reshape(shape).astype(f"u{bits.dtype.itemsize}")

    def bad(self, bits: NDArray[np.unsignedinteger]) -> NDArray[np.bool_]:
        """Return True where the bits of a mask say that a pixel is to be ignored."""
        if not self.good_bits:
            return bits != 0
        every = (1 << 8 * bits.dtype.itemsize) - 1
        return (bits & bits.dtype.type(every & ~self.good_bits)) != 0


def find_mask(
    fields: Fields, shape: tuple[int, int], n_frames: int, beside: str = ""
) -> tuple[StoredMask | None, list[str]]:
    """Find the mask of a file.

    Parameters
    ----------
    fields : Fields
        The fields of a master, CXI or other HDF5 file; masks that are lost are among those broken.
    shape : tuple of int
        Rows and columns of a frame.
    n_frames : int
        Frames in the file.
    beside : str
        Path of the group that holds the frames, if they are one dataset.

    Returns
    -------
    StoredMask or None
        The first that fits the frames.
    list of str
        What is odd about it; if none fits, what is wrong with those that are there.
    """
    wrong = []
    usual = tuple(fields.places(MASKS))
    near = [f"{beside.strip('/')}/{name}" for name in _BESIDE] if beside else []
    for path in (*(path for path in near if path not in usual), *usual):
        mask = fields.dataset(path)
        if mask is None:
            continue
        where, needed = f"{fields.file.filename}:/{path}", f"{shape[0]} x {shape[1]}"
        if mask.dtype.kind not in "iub":
            wrong.append(f"{where}: the mask is not used, its values are not integers")
            continue
        found = _fitted(path, mask.shape, shape, n_frames)
        if found is None:
            wrong.append(
                f"{where}: the mask is not used, its shape {mask.shape} is not that of the frames, "
                f"{needed}; give one that fits with --mask"
            )
            continue
        if not found.of_frames:
            found = dataclasses.replace(found, content=_digest(mask))
        lead = mask.shape[: mask.ndim - (3 if found.of_modules else 2)]
        if max(lead, default=1) > 1 and not found.of_frames:
            note = f"{where}: of the masks, shape {mask.shape}, the first is used for all frames"
            return found, [note]
        return found, []
    return None, wrong


def _digest(mask: h5py.Dataset) -> bytes:
    """Return the digest of a mask as it is packed, and how; empty if it is not packed in chunks.

    To read what is packed takes a tenth of the time of unpacking it.
    """
    digest = hashlib.sha256()
    try:
        stored, how = mask.id, mask.id.get_create_plist()
        if how.get_layout() != h5py.h5d.CHUNKED or stored.get_num_chunks() > _MOST_CHUNKS:
            return b""
        filters = [how.get_filter(k)[::2] for k in range(how.get_nfilters())]
        digest.update(
            f"{mask.shape} {mask.dtype} {mask.chunks} {filters} {mask.fillvalue}".encode()
        )
        for number in range(stored.get_num_chunks()):
            at = stored.get_chunk_info(number).chunk_offset
            left_out, content = stored.read_direct_chunk(at)
            digest.update(f"{at} {left_out} {len(content)} ".encode() + content)
    except NOT_THERE:
        return b""
    return digest.digest()


def _fitted(
    path: str, stored: tuple[int, ...], frame: tuple[int, int], n_frames: int
) -> StoredMask | None:
    own = len(stored) > 2 and stored[0] == n_frames > 1
    if stored[-2:] == frame:
        return StoredMask(path, of_frames=own)
    if len(stored) in (3, 4) and (stored[-3] * stored[-2], stored[-1]) == frame:
        return StoredMask(path, of_frames=own and len(stored) == 4, of_modules=True)
    return None
