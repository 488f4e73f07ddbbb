from loopwright.app.autologging import autolog as autolog
from loopwright.app.connecting import connect as connect
from loopwright.app.packages import load_model as load_model
from loopwright.app.packages import register as register
from loopwright.app.packages import save_model as save_model
from loopwright.app.recording import run as run
from loopwright.client import Client as Client
from loopwright.core.expressions import all_of as all_of
from loopwright.core.expressions import col as col
from loopwright.core.expressions import lit as lit
from loopwright.core.expressions import when as when
from loopwright.core.schema import Column as Column
from loopwright.core.schema import ColumnType as ColumnType
from loopwright.core.schema import Schema as Schema
from loopwright.data.nouns import ColumnRule as ColumnRule
from loopwright.data.nouns import Contract as Contract
from loopwright.engine.operation import Blob as Blob
from loopwright.engine.operation import Upload as Upload
from loopwright.features.nouns import FeatureService as FeatureService
from loopwright.features.nouns import FeatureView as FeatureView
from loopwright.features.nouns import Lookup as Lookup
from loopwright.features.nouns import Output as Output
from loopwright.gates.nouns import Gate as Gate
from loopwright.gates.nouns import Latency as Latency
from loopwright.gates.nouns import Metric as Metric
from loopwright.gates.nouns import NotWorse as NotWorse
from loopwright.gates.nouns import Slices as Slices
from loopwright.loops.nouns import LoopSpec as LoopSpec
from loopwright.loops.nouns import TrainingSpec as TrainingSpec
from loopwright.monitoring.nouns import FeedWatch as FeedWatch
from loopwright.monitoring.nouns import Monitor as Monitor
from loopwright.serving.nouns import EndpointConfig as EndpointConfig
from loopwright.serving.nouns import Route as Route
from loopwright.workspace import Settings as Settings
from loopwright.workspace import Workspace as Workspace

__version__: str
__all__: list[str]
