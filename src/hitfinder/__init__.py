"""Find hits and Bragg peaks in low-flux serial crystallography frames."""

from hitfinder import compilecache, lazy

# Not typing's: loading that takes most of the time of this import, in which Ctrl-C is a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from hitfinder.errors import ConfigError as ConfigError
    from hitfinder.errors import GeometryError as GeometryError
    from hitfinder.errors import HitfinderError as HitfinderError
    from hitfinder.errors import OutputError as OutputError
    from hitfinder.errors import SourceError as SourceError
    from hitfinder.experiment.experiment import Experiment as Experiment
    from hitfinder.experiment.open import open_experiment as open_experiment
    from hitfinder.experiment.settings import GeometrySettings as GeometrySettings
    from hitfinder.finding.contract import Finder as Finder
    from hitfinder.finding.likelihood import LikelihoodFinder as LikelihoodFinder
    from hitfinder.finding.peaks import peak_table as peak_table
    from hitfinder.finding.registry import find_peaks as find_peaks
    from hitfinder.finding.registry import finders as finders
    from hitfinder.finding.result import FrameResult as FrameResult
    from hitfinder.finding.settings import FinderSettings as FinderSettings
    from hitfinder.geometry.crystfel.geomfile import GeomFile as GeomFile
    from hitfinder.geometry.crystfel.reader import read_geom as read_geom
    from hitfinder.geometry.detector import Detector as Detector
    from hitfinder.geometry.detector import Panel as Panel
    from hitfinder.geometry.geometry import Geometry as Geometry
    from hitfinder.geometry.named import detectors as detectors
    from hitfinder.io.open import open as open
    from hitfinder.io.readers import readers as readers
    from hitfinder.io.source import FrameSource as FrameSource
    from hitfinder.job.indexing.index import index as index
    from hitfinder.job.indexing.indexed import IndexedRun as IndexedRun
    from hitfinder.job.outputs.registry import outputs as outputs
    from hitfinder.job.run import run as run
    from hitfinder.job.settings import JobSettings as JobSettings
    from hitfinder.job.settings import OutputSettings as OutputSettings
    from hitfinder.metrics.comparison import Comparison as Comparison
    from hitfinder.metrics.comparison import compare as compare
    from hitfinder.network.finder import NetworkFinder as NetworkFinder
    from hitfinder.report.frame_figure import plot as plot
    from hitfinder.results.run import Run as Run
    from hitfinder.results.run import RunSummary as RunSummary
    from hitfinder.results.run import open_run as open_run
    from hitfinder.simulation.frame import SimulatedFrame as SimulatedFrame
    from hitfinder.simulation.settings import SimulationSettings as SimulationSettings
    from hitfinder.simulation.simulation import Simulation as Simulation
    from hitfinder.simulation.simulation import simulate as simulate
    from hitfinder.simulation.simulator import Simulator as Simulator

__version__ = "0.2.0"

PUBLIC = {
    "Comparison": "hitfinder.metrics.comparison",
    "ConfigError": "hitfinder.errors",
    "IndexedRun": "hitfinder.job.indexing.indexed",
    "Detector": "hitfinder.geometry.detector",
    "Experiment": "hitfinder.experiment.experiment",
    "Finder": "hitfinder.finding.contract",
    "FinderSettings": "hitfinder.finding.settings",
    "FrameResult": "hitfinder.finding.result",
    "FrameSource": "hitfinder.io.source",
    "GeomFile": "hitfinder.geometry.crystfel.geomfile",
    "Geometry": "hitfinder.geometry.geometry",
    "GeometryError": "hitfinder.errors",
    "GeometrySettings": "hitfinder.experiment.settings",
    "HitfinderError": "hitfinder.errors",
    "JobSettings": "hitfinder.job.settings",
    "LikelihoodFinder": "hitfinder.finding.likelihood",
    "NetworkFinder": "hitfinder.network.finder",
    "OutputError": "hitfinder.errors",
    "OutputSettings": "hitfinder.job.settings",
    "Panel": "hitfinder.geometry.detector",
    "Run": "hitfinder.results.run",
    "RunSummary": "hitfinder.results.run",
    "SimulatedFrame": "hitfinder.simulation.frame",
    "Simulation": "hitfinder.simulation.simulation",
    "SimulationSettings": "hitfinder.simulation.settings",
    "Simulator": "hitfinder.simulation.simulator",
    "SourceError": "hitfinder.errors",
    "compare": "hitfinder.metrics.comparison",
    "detectors": "hitfinder.geometry.named",
    "find_peaks": "hitfinder.finding.registry",
    "finders": "hitfinder.finding.registry",
    "index": "hitfinder.job.indexing.index",
    "open": "hitfinder.io.open",
    "open_experiment": "hitfinder.experiment.open",
    "open_run": "hitfinder.results.run",
    "outputs": "hitfinder.job.outputs.registry",
    "peak_table": "hitfinder.finding.peaks",
    "plot": "hitfinder.report.frame_figure",
    "read_geom": "hitfinder.geometry.crystfel.reader",
    "readers": "hitfinder.io.readers",
    "run": "hitfinder.job.run",
    "simulate": "hitfinder.simulation.simulation",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy.attach(__name__, PUBLIC)

compilecache.ensure()
