"""Find hits and Bragg peaks in low-flux serial crystallography frames."""

from typing import TYPE_CHECKING

from hitfinder import lazy

if TYPE_CHECKING:
    from hitfinder.errors import ConfigError as ConfigError
    from hitfinder.errors import GeometryError as GeometryError
    from hitfinder.errors import HitfinderError as HitfinderError
    from hitfinder.errors import OutputError as OutputError
    from hitfinder.errors import SourceError as SourceError
    from hitfinder.finding.contract import Finder as Finder
    from hitfinder.finding.likelihood import LikelihoodFinder as LikelihoodFinder
    from hitfinder.finding.peaks import peak_table as peak_table
    from hitfinder.finding.registry import find_peaks as find_peaks
    from hitfinder.finding.registry import finders as finders
    from hitfinder.finding.result import FrameResult as FrameResult
    from hitfinder.finding.settings import FinderSettings as FinderSettings
    from hitfinder.geometry.crystfel.reader import read_geom as read_geom
    from hitfinder.geometry.detector import Detector as Detector
    from hitfinder.geometry.detector import Panel as Panel
    from hitfinder.geometry.geometry import Geometry as Geometry
    from hitfinder.geometry.named import detectors as detectors
    from hitfinder.metrics.comparison import Comparison as Comparison
    from hitfinder.metrics.comparison import compare as compare
    from hitfinder.network.finder import NetworkFinder as NetworkFinder

__version__ = "0.1.0"

PUBLIC = {
    "ConfigError": "hitfinder.errors",
    "GeometryError": "hitfinder.errors",
    "HitfinderError": "hitfinder.errors",
    "OutputError": "hitfinder.errors",
    "SourceError": "hitfinder.errors",
    "Comparison": "hitfinder.metrics.comparison",
    "Detector": "hitfinder.geometry.detector",
    "Finder": "hitfinder.finding.contract",
    "FinderSettings": "hitfinder.finding.settings",
    "FrameResult": "hitfinder.finding.result",
    "Geometry": "hitfinder.geometry.geometry",
    "LikelihoodFinder": "hitfinder.finding.likelihood",
    "NetworkFinder": "hitfinder.network.finder",
    "Panel": "hitfinder.geometry.detector",
    "compare": "hitfinder.metrics.comparison",
    "detectors": "hitfinder.geometry.named",
    "find_peaks": "hitfinder.finding.registry",
    "finders": "hitfinder.finding.registry",
    "peak_table": "hitfinder.finding.peaks",
    "read_geom": "hitfinder.geometry.crystfel.reader",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy.attach(__name__, PUBLIC)
