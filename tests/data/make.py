"""Make the reference data of the tests: python tests/data/make.py SHARED [FOLDER].

SHARED is the folder of reference data beside the project; see README.md for what comes from it.
"""

import gzip
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np

HALF = 4
"""Half the window of a spot, less half a pixel: windows are 9 x 9 pixels."""

LEAST = 20.0
"""Photons of the brightest pixel of a spot that is listed."""

NEAREST = 12
"""Pixels around a spot in which no other one is listed."""

SPOT_DTYPE = np.dtype(
    [(name, "i4") for name in ("fs", "ss")]
    + [(name, "f8") for name in ("photons", "peak", "mean_fs", "mean_ss")]
    + [(name, "f8") for name in ("var_fs", "var_ss", "cov")]
)
"""Brightest pixel; photons of the window and of that pixel; centroid from the middle of that pixel
and second moments about it, of the window, in pixels."""

MESSAGES = {
    "stream1/header": [f"stream1/streamData.{n:06}" for n in range(1, 9)],
    "stream1/image": [f"captured_stream1_eiger_1m/001_part{n}.gz" for n in range(4)],
    "stream1/end": ["stream1/streamData.000049"],
    "stream2/start": ["stream2_eiger2_16m_16bit/start.cbor"],
    "stream2/image": ["captured_stream2_eiger_1m/001_image.cbor.gz"],
    "stream2/image_16m": ["stream2_eiger2_16m_16bit/image.cbor"],
    "stream2/end": ["stream2_eiger2_16m_16bit/end.cbor"],
}
"""Message -> its parts under ``simplon/``."""


def spots(image):
    """List the spots of an image, brightest pixel first, as `SPOT_DTYPE`."""
    left, found = image.astype(float), []
    while left.max() >= LEAST:
        ss, fs = np.unravel_index(left.argmax(), left.shape)
        near = min(ss, fs, image.shape[0] - 1 - ss, image.shape[1] - 1 - fs)
        if near > HALF:
            found.append((fs, ss, *moments(image, fs, ss)))
        left[max(ss - NEAREST, 0) : ss + NEAREST + 1, max(fs - NEAREST, 0) : fs + NEAREST + 1] = 0
    return np.array(found, SPOT_DTYPE)


def moments(image, fs, ss):
    """Return the numbers of one spot: those of `SPOT_DTYPE` after its place."""
    window = image[ss - HALF : ss + HALF + 1, fs - HALF : fs + HALF + 1].astype(float)
    step = np.arange(-HALF, HALF + 1)
    photons = window.sum()
    mean_fs, mean_ss = (window * step).sum() / photons, (window.T * step).sum() / photons
    df, ds = (step - mean_fs)[None, :], (step - mean_ss)[:, None]
    second = [(window * weight).sum() / photons for weight in (df * df, ds * ds, df * ds)]
    return photons, window[HALF, HALF], mean_fs, mean_ss, *second


def near_ewald(hkl, axes, wavenumber, width, widest):
    """Whether an equivalent of each reflection (4/mmm) comes near Ewald's sphere (all in Å⁻¹)."""
    h, k, el = hkl.T.astype(float)
    near = np.zeros(len(hkl), bool)
    for a, b in ((h, k), (k, h)):
        for signs in np.ndindex(2, 2, 2):
            sa, sb, sl = 1 - 2 * np.array(signs)
            g = axes @ np.stack([sa * a, sb * b, sl * el])
            seen = np.linalg.norm(g, axis=0) < widest
            g[2] += wavenumber
            near |= seen & (np.abs(np.linalg.norm(g, axis=0) - wavenumber) < width)
    return near


def make_nanobragg(shared, folder):
    """Spot tables of the two images, and the structure factors that they need."""
    with h5py.File(shared / "nanobragg" / "nanobragg_small_crystal.h5") as source:
        hkl, amplitude = source["hkl"][:], source["F"][:]
        keep = np.zeros(len(hkl), bool)
        with h5py.File(folder / "nanobragg_spots.h5", "w") as file:
            file.attrs.update(source.attrs)
            for name in ("mono_polarised_x", "mono_unpolarised_off"):
                image = source[name]
                file[name] = spots(image[:])
                file[name].attrs.update(image.attrs)
                axes = image.attrs["reciprocal_axes_inv_angstrom"]
                # Ten fringes, 1 / (20 cells of 67.3 Å) apart, at 6000 eV; corners are at 6 Å.
                keep |= near_ewald(hkl, axes, 6000 / 12398.42, 10 / (20 * 67.288), 1 / 5.5)
            for name, values in (("hkl", hkl), ("F", amplitude)):
                file.create_dataset(name, data=values[keep], compression=9, shuffle=True)


def make_messages(shared, folder):
    """One message of each kind, each part by itself and gzipped."""
    for name, parts in MESSAGES.items():
        for number, part in enumerate(parts):
            data = (shared / "simplon" / part).read_bytes()
            data = gzip.decompress(data) if part.endswith(".gz") else data
            suffix = f"_part{number}.gz" if name.startswith("stream1") else ".cbor.gz"
            path = folder / "simplon" / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(data, 9, mtime=0))


def main(shared, folder):
    """Make everything."""
    shutil.copyfile(
        shared / "pattern_sim" / "pattern_sim_1ic6_9.h5", folder / "pattern_sim_1ic6_9.h5"
    )
    make_nanobragg(shared, folder)
    make_messages(shared, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parent))
