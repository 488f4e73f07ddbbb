"""What MLflow makes of searches of traces; by its Python: `python -m tests.tracking.traces_peer FILE`."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

utils: Any = import_module("mlflow.utils.search_utils").SearchTraceUtils
refused: Any = import_module("mlflow.exceptions").MlflowException


def read(text: str) -> Any:
    """Type, key, operator and value of each clause; None for a text that is refused."""
    try:
        found = utils.parse_search_filter_for_search_traces(text)
        return [[each["type"], each["key"], each["comparator"].upper(), each["value"]] for each in found]
    except refused:
        return None


if __name__ == "__main__":
    texts = json.loads(Path(sys.argv[1]).read_text())
    sys.stdout.write("\n" + json.dumps([read(text) for text in texts]) + "\n")
