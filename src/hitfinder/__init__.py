"""Find hits and Bragg peaks in low-flux serial crystallography frames."""

__version__ = "0.1.0"
