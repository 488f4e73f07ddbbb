from loopwright.app.connecting import connect as connect
from loopwright.client import Client as Client
from loopwright.core.expressions import all_of as all_of
from loopwright.core.expressions import col as col
from loopwright.core.expressions import lit as lit
from loopwright.core.expressions import when as when
from loopwright.core.schema import Column as Column
from loopwright.core.schema import ColumnType as ColumnType
from loopwright.core.schema import Schema as Schema
from loopwright.engine.operation import Blob as Blob
from loopwright.engine.operation import Upload as Upload
from loopwright.workspace import Settings as Settings
from loopwright.workspace import Workspace as Workspace

__version__: str
__all__: list[str]
