"""The networks that judge candidate peaks: a model is a folder, loading gives the same answers."""
