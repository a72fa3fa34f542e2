"""Photon energy and camera length from the scattering of water in frames."""
