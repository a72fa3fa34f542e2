"""The networks of Everett and Kurth (2024), "Crystallography Peak Detection at CXLS".

Layer sizes are the report's; where it leaves one open, the value in its authors' public code is
used. Each network takes frames of any size, and its linear layers are sized to the frame.
"""
