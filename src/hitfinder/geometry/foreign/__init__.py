"""Geometry files of pyFAI (PONI), DIALS (``.expt``) and XDS."""
