"""The readers that come with hitfinder."""

from __future__ import annotations

import h5py
import numpy as np

from hitfinder.errors import SourceError
from hitfinder.io import cbf, images
from hitfinder.io.cbf import CbfSource
from hitfinder.io.cbf_sections import MAGIC
from hitfinder.io.composite import CompositeSource, FailedSource
from hitfinder.io.hdf5 import open_hdf5
from hitfinder.io.lst import is_list, read_lst
from hitfinder.io.memory import NpySource
from hitfinder.io.readers import Opening
from hitfinder.io.source import FrameSource

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5", ".cxi", ".nxs", ".nx5")


class Hdf5Reader:
    """Reads NXmx and Eiger masters, CXI files, and other stacks in HDF5."""

    suffixes = HDF5_SUFFIXES

    def guess_can_open(self, file: str) -> bool:
        """Say whether it is an HDF5 file, or should be one by its name."""
        return file.lower().endswith(self.suffixes) or h5py.is_hdf5(file)

    def open(self, file: str, opening: Opening) -> FrameSource:
        """Open a file; see `hitfinder.io.hdf5.open_hdf5`."""
        return open_hdf5(file, opening.layout, opening.dataset)


class CbfReader:
    """Reads CBF files, plain or packed by gzip or bzip2."""

    suffixes = cbf.SUFFIXES

    def guess_can_open(self, file: str) -> bool:
        """Say whether it is a CBF file by its name or by how it begins."""
        return file.lower().endswith(self.suffixes) or _begins(file) == MAGIC

    def open(self, file: str, opening: Opening) -> FrameSource:
        """Open a file."""
        return CbfSource(file)


class ImageReader:
    """Reads image files by fabio: SMV, TIFF, MarCCD, EDF."""

    suffixes = images.SUFFIXES

    def guess_can_open(self, file: str) -> bool:
        """Say whether it is an image by its name or by how it begins."""
        return file.lower().endswith(self.suffixes) or _begins(file, 16).startswith(
            images.BEGINNINGS
        )

    def open(self, file: str, opening: Opening) -> FrameSource:
        """Open a file."""
        return images.ImageSource(file)


class NpyReader:
    """Reads NumPy's ``.npy`` files."""

    suffixes = (".npy",)

    def guess_can_open(self, file: str) -> bool:
        """Say whether it is a file of NumPy by its name or by how it begins."""
        magic = np.lib.format.MAGIC_PREFIX
        return file.lower().endswith(self.suffixes) or _begins(file) == magic

    def open(self, file: str, opening: Opening) -> FrameSource:
        """Open a file."""
        return NpySource(file)


class ListReader:
    """Reads CrystFEL's lists, which name frames of other files."""

    suffixes = ()

    def guess_can_open(self, file: str) -> bool:
        """Say whether it is a list by its name."""
        return is_list(file)

    def open(self, file: str, opening: Opening) -> FrameSource:
        """Open the frames of a list, in its order."""
        sources: list[FrameSource] = []
        numbers: dict[str, int] = {}
        order: list[tuple[int, int]] = []
        refs = read_lst(file)
        opening.ahead({ref.file: None for ref in refs})
        for ref in refs:
            if ref.file not in numbers:
                numbers[ref.file] = len(sources)
                sources.append(opening.other(ref.file))
            number = numbers[ref.file]
            source = sources[number]
            try:
                if isinstance(source, FailedSource):
                    raise source.error
                wanted = [source.index_of(ref.event)] if ref.event else range(len(source))
                order += [(number, index) for index in wanted]
            except SourceError as error:
                order.append((len(sources), 0))
                sources.append(FailedSource(ref, error))
        return CompositeSource(sources, np.array(order))


def _begins(file: str, n_bytes: int = 6) -> bytes:
    """Return the first bytes of a file; none if it cannot be read."""
    try:
        with open(file, "rb") as stream:
            return stream.read(n_bytes)
    except OSError:
        return b""
