"""Frame sources behind one contract."""
