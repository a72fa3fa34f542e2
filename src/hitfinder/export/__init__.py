"""CXI files, frame lists and tables."""
