"""Training of networks on trees of frames."""
