"""Settings of the simulated crystals that tests of indexing look for."""

from hitfinder.simulation.presets import load_settings

SETTINGS = {
    "detector.name": "eiger2-x-1m",
    "detector.camera_length_m": 0.1,
    "beam.photon_energy_ev": 6000,
    "crystal.structure": "random",
    "crystal.cell": "60,60,90",
    "crystal.space_group": "P 43 21 2",
    "crystal.d_min_a": 3.0,
    "background.shots": 1,
    "seed": 5,
}


def settings(**changes):
    """Return the settings with changes, by their dotted names."""
    return load_settings(preset="report", overrides=SETTINGS | changes)
