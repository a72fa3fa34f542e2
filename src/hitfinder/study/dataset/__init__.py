"""Trees of labelled frames in the layout of the CXLS report: build, check, choose, load."""
