"""What a job has found so far, kept on disk so that a killed job can go on where it was."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder import atomic
from hitfinder.errors import OutputError

FRAME_DTYPE = np.dtype(
    [
        ("status", "U16"),
        ("hit", "?"),
        ("score", "f8"),
        ("n_peaks", "i4"),
        ("photons", "i8"),
        ("background_per_pixel", "f8"),
        ("resolution_a", "f4"),
        ("hit_probability", "f4"),
        ("photon_energy_ev", "f4"),
        ("photon_energy_sigma_ev", "f4"),
        ("photon_energy_low_ev", "f4"),
        ("photon_energy_high_ev", "f4"),
        ("camera_length_m", "f4"),
        ("camera_length_sigma_m", "f4"),
        ("camera_length_low_m", "f4"),
        ("camera_length_high_m", "f4"),
        ("geometry", "U16"),
        ("seconds", "f4"),
    ]
)
"""One frame's results; ``status`` is ``ok`` or says why there are none. Photon energy and camera
length are estimated from the frame, ``geometry`` says whether they can be."""

OK, PENDING, WORKER_DIED, FAILED = "ok", "pending", "worker-died", "failed"
"""Statuses besides those of `SourceError`: not done yet; its worker was killed; error inside."""

PARTS, LOCK = ".parts", "lock"
IMAGES_PER_CHECKPOINT = 32
"""Chunk images are added into one file after so many, so that they do not pile up on disk."""


def empty_rows(n: int, status: str) -> NDArray[np.void]:
    """Return `n` rows of `FRAME_DTYPE` for frames without results."""
    rows = np.zeros(n, FRAME_DTYPE)
    rows["status"] = status
    for name in FRAME_DTYPE.names or ():
        if FRAME_DTYPE[name].kind == "f" and name != "seconds":
            rows[name] = np.nan
    return rows


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Results of a chunk of consecutive frames.

    Attributes
    ----------
    start : int
        Index of the first frame.
    rows : ndarray of `FRAME_DTYPE`, shape (n_frames,)
        A row per frame.
    peaks : structured ndarray
        Peaks of all frames, in frame order; `rows` says how many are whose.
    profile : ndarray of float64, shape (2, n_bins)
        Summed expected background per radial bin, and in how many frames the bin had one.
    problems : dict
        Frame index to the message of the error that frame met.
    geometry : ndarray of float64, 2-D
        What the frames say of photon energy and camera length
        (`hitfinder.estimate.run.RunSums.to_array`); empty if nothing.
    """

    start: int
    rows: NDArray[np.void]
    peaks: NDArray[np.void]
    profile: NDArray[np.float64]
    problems: dict[int, str]
    geometry: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def frame_of_peak(self) -> NDArray[np.int64]:
        """Index of the frame of each peak."""
        frames = np.arange(self.start, self.start + len(self.rows))
        return np.repeat(frames, self.rows["n_peaks"])


@dataclasses.dataclass
class Counts:
    """How far a job is."""

    frames: int = 0
    hits: int = 0
    problems: int = 0

    def add(self, part: Part) -> None:
        """Count a part."""
        self.frames += len(part.rows)
        self.hits += int(part.rows["hit"].sum())
        self.problems += int((part.rows["status"] != OK).sum())

    def __str__(self) -> str:
        bad = f", {self.problems} unreadable" if self.problems else ""
        return f"{self.hits} hits{bad}"


class Store:
    """The folder ``.parts`` of an unfinished job.

    A chunk is done when its part file is there; a part file appears whole or not at all. The
    summed image of a chunk is written before its part and later added to the running sum, whose
    file lists the chunks in it, so a chunk is in the sum once whenever the job is killed.

    Parameters
    ----------
    out_dir : Path
        The job's output folder, which must exist.

    Raises
    ------
    OutputError
        If another process works in the folder.
    """

    def __init__(self, out_dir: Path) -> None:
        self.folder = out_dir / PARTS
        self.folder.mkdir(exist_ok=True)
        self.counts = Counts()
        self.done: dict[int, int] = {}
        self._image: NDArray | None = None
        self._merged: set[int] = set()
        self._waiting: list[int] = []
        self._lock = open(self.folder / LOCK, "w")  # noqa: SIM115 - held as long as the store
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            hint = "Wait for it, or write to another folder."
            raise OutputError("another run is writing here", str(out_dir), hint) from error

    def close(self) -> None:
        """Let other processes use the folder."""
        self._lock.close()

    def remove(self) -> None:
        """Delete the folder: the job is finished and its outputs are written."""
        self.close()
        shutil.rmtree(self.folder)

    def clear(self) -> None:
        """Forget the job that is here."""
        for path in self.folder.iterdir():
            if path.name != LOCK:
                path.unlink()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def save_job(self, job: dict[str, Any]) -> None:
        """Write what this job is."""
        self._write("job.json", json.dumps(job, indent=1).encode())

    def load_job(self) -> dict[str, Any] | None:
        """Return what the job in this folder is; None if there is none."""
        try:
            return json.loads((self.folder / "job.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def save_array(self, name: str, array: NDArray) -> None:
        """Keep an array that the job needs again when it goes on."""
        self._write(f"{name}.npy", _npy(array))

    def load_array(self, name: str) -> NDArray | None:
        """Return a kept array; None if there is none."""
        return _load(self.folder / f"{name}.npy")

    def add(self, part: Part, image: NDArray) -> None:
        """Keep a finished chunk.

        Parameters
        ----------
        part : Part
            Results.
        image : ndarray, 2-D
            Binned sum of the chunk's frames; the same shape for every chunk.
        """
        self._write(_image_name(part.start), _npy(_smallest(image)))
        buffer = io.BytesIO()
        problems = np.frombuffer(json.dumps(part.problems).encode(), np.uint8)
        arrays = {name: getattr(part, name) for name in ("rows", "peaks", "profile", "geometry")}
        np.savez(buffer, problems=problems, **arrays)
        self._write(_part_name(part.start), buffer.getvalue())
        self._note(part)
        self._add_image(part.start, image)
        if len(self._waiting) >= IMAGES_PER_CHECKPOINT:
            self._checkpoint()

    def resume(self) -> None:
        """Take up the chunks that are there; drop part files that cannot be read."""
        loaded = _load(self.folder / "image.npz")
        if loaded is not None:
            self._image, self._merged = loaded["image"], set(loaded["merged"].tolist())
        for path in sorted(self.folder.glob("part-*.npz")):
            start = int(path.stem.removeprefix("part-"))
            part, image = self._read(path), _load(self.folder / _image_name(start))
            if part is None or (image is None and start not in self._merged):
                path.unlink()
                continue
            self._note(part)
            if image is not None and start not in self._merged:
                self._add_image(start, image)
        # A chunk in the sum whose part is gone would be summed again.
        if not self._merged <= set(self.done):
            raise OutputError(
                "parts of the unfinished run are missing",
                str(self.folder),
                "Start again with --overwrite.",
            )

    def parts(self) -> Iterator[Part]:
        """Read the finished chunks in frame order, one at a time."""
        for start in sorted(self.done):
            part = self._read(self.folder / _part_name(start))
            if part is None:
                raise OutputError("cannot be read any more", str(self.folder / _part_name(start)))
            yield part

    @property
    def image(self) -> NDArray | None:
        """Binned sum of the frames of all finished chunks."""
        return self._image

    def _note(self, part: Part) -> None:
        self.done[part.start] = len(part.rows)
        self.counts.add(part)

    def _add_image(self, start: int, image: NDArray) -> None:
        wide = image.astype(np.int64 if image.dtype.kind in "iub" else np.float64)
        self._image = wide if self._image is None else self._image + wide
        self._waiting.append(start)

    def _checkpoint(self) -> None:
        """Write the running sum, then delete the images that are in it."""
        merged = self._merged | set(self._waiting)
        buffer = io.BytesIO()
        assert self._image is not None
        np.savez(buffer, image=self._image, merged=np.array(sorted(merged), np.int64))
        self._write("image.npz", buffer.getvalue())
        for start in self._waiting:
            (self.folder / _image_name(start)).unlink(missing_ok=True)
        self._merged, self._waiting = merged, []

    def _read(self, path: Path) -> Part | None:
        loaded = _load(path)
        if loaded is None:
            return None
        problems = json.loads(loaded["problems"].tobytes())
        return Part(
            int(path.stem.removeprefix("part-")),
            loaded["rows"],
            loaded["peaks"],
            loaded["profile"],
            {int(frame): text for frame, text in problems.items()},
            loaded["geometry"],
        )

    def _write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all."""
        with atomic.replacing(self.folder / name) as part:
            part.write_bytes(content)


def _part_name(start: int) -> str:
    return f"part-{start:09d}.npz"


def _image_name(start: int) -> str:
    return f"image-{start:09d}.npy"


def _npy(array: NDArray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _smallest(image: NDArray) -> NDArray:
    """Narrow an image of whole counts to the smallest type that holds it."""
    if image.dtype.kind != "i" or image.min(initial=0) < 0:
        return image
    return image.astype(np.min_scalar_type(int(image.max(initial=0))))


def _load(path: Path) -> Any:
    """Load an .npy or .npz file whole; None if it is missing or damaged."""
    try:
        with contextlib.closing(open(path, "rb")) as file:
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
