"""Reading geometry files of any program."""

from __future__ import annotations

import os

from hitfinder.geometry.crystfel.geomfile import GeomFile
from hitfinder.geometry.crystfel.reader import geom_of, geometry_text
from hitfinder.geometry.foreign.described import DescribedDetector
from hitfinder.geometry.foreign.dials import read_dials
from hitfinder.geometry.foreign.poni import is_poni, read_poni
from hitfinder.geometry.foreign.xds import is_xds, read_xds


def read_geometry(path: str | os.PathLike[str]) -> GeomFile | DescribedDetector:
    """Read a geometry file of CrystFEL, pyFAI, DIALS or XDS; its content tells which it is.

    Parameters
    ----------
    path : str or PathLike
        A CrystFEL geometry, a PONI file, an experiment list of DIALS, or XDS.INP, XPARM.XDS or
        GXPARM.XDS.

    Raises
    ------
    GeometryError
        If it cannot be read or used.
    """
    name, text = str(path), geometry_text(path)
    if text.lstrip()[:1] in ("{", "["):
        return read_dials(text, name)
    if is_poni(text):
        return read_poni(text, name)
    if is_xds(text):
        return read_xds(text, name)
    return geom_of(text, name)
