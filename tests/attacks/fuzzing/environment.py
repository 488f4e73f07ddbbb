"""The environment of the tools that search: made from pinned requirements on first use, kept in the cache."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.environments import environment_of

__all__ = ["ROOT", "tools"]

ROOT = Path(__file__).parents[3]
_REQUIREMENTS = Path(__file__).parent / "requirements.txt"


def tools() -> Path:
    """The folder of the environment."""
    return environment_of(f"fuzzing-{sys.version_info.minor}", _REQUIREMENTS)
