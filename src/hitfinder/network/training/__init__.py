"""Training of the networks that judge candidate peaks and frames, on simulated frames."""
