"""The orientation of a crystal of known unit cell, from few and doubtful peaks."""
