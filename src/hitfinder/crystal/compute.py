"""Structure factors from atomic coordinates, and random ones for any cell."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import gemmi
import numpy as np

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.reflections import StructureFactors, space_group
from hitfinder.crystal.scale import protein_mean
from hitfinder.crystal.smallmolecule import from_small_molecule, read_small_molecule
from hitfinder.errors import ConfigError

SOLVENT_DENSITY_E_A3 = 0.35
SOLVENT_B_A2 = 46.0
LOGGER = logging.getLogger("hitfinder.crystal")


def from_coordinates(
    path: str | Path,
    d_min_a: float = 1.5,
    solvent_density: float = SOLVENT_DENSITY_E_A3,
    solvent_b_a2: float = SOLVENT_B_A2,
) -> StructureFactors:
    """Compute |F|² from a PDB or mmCIF file, or from the CIF of a small molecule.

    The model density is laid on a grid and Fourier transformed; a flat bulk solvent of density
    k = 0.35 e/Å³ smoothed by B = 46 Å² fills the rest of the cell (Fokine & Urzhumtsev, Acta
    Cryst. D58, 1387 (2002)). A small molecule is summed atom by atom, without solvent.

    Parameters
    ----------
    path : path-like
        Coordinates with unit cell and space group; may be gzipped.
    d_min_a : float
        Finest resolution, in Å.
    solvent_density, solvent_b_a2 : float
        Density in e/Å³ and B factor in Å² of the bulk solvent.

    Returns
    -------
    StructureFactors

    Raises
    ------
    ConfigError
        If the file cannot be read or has no atoms, no unit cell, or no known space group.
    ValueError
        If the resolution is not positive.
    """
    if not 0.3 <= d_min_a <= 100:
        raise ValueError(f"resolution must be in 0.3 to 100 Å, got {d_min_a}")
    if str(path).lower().endswith((".cif", ".cif.gz")) and Path(path).is_file():
        small = read_small_molecule(path)
        if small is not None:
            sites = ((site.label, site.element) for site in small.sites)
            _tell_of_unknown(str(path), [name for name, e in sites if not e.atomic_number])
            return from_small_molecule(small, d_min_a, Path(path).name)
    structure = _read_structure(path)
    found, group = structure.cell, structure.find_spacegroup()
    model = structure[0]
    unknown = [str(site) for site in model.all() if not site.atom.element.atomic_number]
    _tell_of_unknown(str(path), unknown)
    density = gemmi.DensityCalculatorX()
    density.d_min, density.rate = d_min_a, 1.5
    density.set_refmac_compatible_blur(model)
    density.set_grid_cell_and_spacegroup(structure)
    density.put_model_density_on_grid(model)
    atoms = gemmi.transform_map_to_f_phi(density.grid).prepare_asu_data(
        dmin=d_min_a, unblur=density.blur
    )
    mask = gemmi.FloatGrid()
    mask.setup_from(structure, spacing=min(0.6, d_min_a / 3))
    gemmi.SolventMasker(gemmi.AtomicRadiiSet.Cctbx).put_mask_on_float_grid(mask, model)
    solvent = gemmi.transform_map_to_f_phi(mask).prepare_asu_data(dmin=d_min_a)
    scaling = gemmi.Scaling(found, group)
    scaling.use_solvent, scaling.k_sol, scaling.b_sol = True, solvent_density, solvent_b_a2
    scaling.scale_data(atoms, solvent)
    return StructureFactors(
        Cell(*found.parameters),
        group.xhm(),
        np.array(atoms.miller_array, np.int16),
        np.abs(np.array(atoms.value_array)).astype(float) ** 2,
        source=f"{Path(path).name} to {d_min_a:g} Å",
    )


def _read_structure(path: str | Path) -> gemmi.Structure:
    """Read coordinates and make sure that they describe a crystal."""
    where = str(path)
    try:
        if not Path(path).is_file():
            raise ConfigError("no such file", where)
        structure = gemmi.read_structure(where)
    except (RuntimeError, ValueError, OSError, gzip.BadGzipFile) as error:
        raise ConfigError(f"cannot read coordinates: {error}", where) from error
    if len(structure) == 0 or structure[0].count_atom_sites() == 0:
        raise ConfigError("no atoms", where)
    cell = structure.cell
    if not cell.is_crystal() or cell.volume < 10:
        hint = "Add a CRYST1 record (PDB) or _cell items (mmCIF)."
        raise ConfigError("no unit cell", where, hint)
    try:
        Cell(*cell.parameters)
    except ValueError as error:
        raise ConfigError(str(error), where) from error
    if structure.find_spacegroup() is None:
        raise ConfigError(f"unknown space group {structure.spacegroup_hm!r}", where)
    return structure


def _tell_of_unknown(where: str, names: list[str]) -> None:
    """Warn of atoms of no known element: gemmi has them scatter as oxygen does."""
    if names:
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        LOGGER.warning(
            "%s: %d %s of no known element (%s): taken as oxygen",
            where,
            len(names),
            "atom is" if len(names) == 1 else "atoms are",
            shown,
        )


def random_structure_factors(
    cell: Cell,
    space_group_name: str,
    rng: np.random.Generator,
    d_min_a: float = 1.5,
    b_factor_a2: float = 12.0,
) -> StructureFactors:
    """Draw structure factors of an imaginary protein crystal.

    |F|² follows Wilson's statistics (A. J. C. Wilson, Acta Cryst. 2, 318 (1949)): exponential with
    mean ε Σ f² exp(-2 B sin²θ/λ²) for general reflections, and the square of a normal number for
    centric ones. The atoms are those of an average protein filling half of the cell.

    Parameters
    ----------
    cell : Cell
        Unit cell.
    space_group_name : str
        Hermann-Mauguin symbol or number.
    rng : numpy.random.Generator
        Source of randomness.
    d_min_a : float
        Finest resolution, in Å.
    b_factor_a2 : float
        Overall B factor, in Å².
    """
    group = space_group(space_group_name)
    operations = group.operations()
    hkl = np.array(gemmi.make_miller_array(cell.as_gemmi(), group, d_min_a), np.int32)
    stol2 = cell.inv_d_squared(hkl) / 4
    mean = protein_mean(cell, stol2)
    mean *= np.exp(-2 * b_factor_a2 * stol2) * operations.epsilon_factor_array(hkl)
    centric = operations.centric_flag_array(hkl)
    drawn = np.where(
        centric, rng.standard_normal(len(hkl)) ** 2, rng.standard_exponential(len(hkl))
    )
    return StructureFactors(
        cell, group.xhm(), hkl.astype(np.int16), mean * drawn, source="random (Wilson statistics)"
    )
