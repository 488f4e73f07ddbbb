"""Loopwright: the whole loop of machine learning in one install. By custom `import loopwright as lw`.

Every name is loaded when it is first used, so that importing the package costs nothing; `__init__.pyi`
beside this file tells type checkers what each is.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Blob": "loopwright.engine.operation",
    "Client": "loopwright.client",
    "Column": "loopwright.core.schema",
    "ColumnRule": "loopwright.data.nouns",
    "ColumnType": "loopwright.core.schema",
    "Comparison": "loopwright.data.nouns",
    "Contract": "loopwright.data.declaring",
    "Distribution": "loopwright.data.nouns",
    "EndpointConfig": "loopwright.serving.nouns",
    "FeatureService": "loopwright.features.nouns",
    "FeatureView": "loopwright.features.nouns",
    "FeedWatch": "loopwright.monitoring.nouns",
    "Freshness": "loopwright.data.nouns",
    "Gate": "loopwright.gates.nouns",
    "Latency": "loopwright.gates.nouns",
    "Lookup": "loopwright.features.nouns",
    "LoopSpec": "loopwright.loops.nouns",
    "Metric": "loopwright.gates.nouns",
    "Monitor": "loopwright.monitoring.nouns",
    "NotWorse": "loopwright.gates.nouns",
    "Output": "loopwright.features.nouns",
    "PurposeRule": "loopwright.data.allowing",
    "Purposes": "loopwright.data.allowing",
    "Reference": "loopwright.data.nouns",
    "Release": "loopwright.data.nouns",
    "Route": "loopwright.serving.nouns",
    "Schema": "loopwright.core.schema",
    "Settings": "loopwright.workspace",
    "Slices": "loopwright.gates.nouns",
    "Split": "loopwright.features.nouns",
    "TrainingSpec": "loopwright.loops.nouns",
    "UniqueKey": "loopwright.data.nouns",
    "Upload": "loopwright.engine.operation",
    "Volume": "loopwright.data.nouns",
    "Workspace": "loopwright.workspace",
    "all_of": "loopwright.core.expressions",
    "autolog": "loopwright.app.autologging",
    "check": "loopwright.app.checking",
    "col": "loopwright.core.expressions",
    "connect": "loopwright.app.connecting",
    "contract": "loopwright.data.declaring",
    "dataset": "loopwright.app.datasets",
    "feature_function": "loopwright.app.feature_functions",
    "feature_service": "loopwright.app.feature_services",
    "feature_view": "loopwright.app.feature_views",
    "field": "loopwright.data.declaring",
    "group": "loopwright.data.declaring",
    "lit": "loopwright.core.expressions",
    "load_model": "loopwright.app.packages",
    "register": "loopwright.app.packages",
    "row": "loopwright.data.declaring",
    "run": "loopwright.app.recording",
    "save_model": "loopwright.app.packages",
    "source": "loopwright.app.feature_views",
    "training_set": "loopwright.app.training_sets",
    "when": "loopwright.core.expressions",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - the names of a table


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'loopwright' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
