"""CrystFEL geometry files: reading, what follows from them, and writing."""

from hitfinder.geometry.crystfel.directives import Directives, directives_of
from hitfinder.geometry.crystfel.geomfile import GeomFile
from hitfinder.geometry.crystfel.reader import read_geom
from hitfinder.geometry.crystfel.writer import geom_lines, write_geom

__all__ = ["Directives", "GeomFile", "directives_of", "geom_lines", "read_geom", "write_geom"]
