"""MLflow's databases: read as histories, and made anew."""

from loopwright.adapters.sql.past.reading import SqlHistory
from loopwright.adapters.sql.past.writing import SqlHistorySink

__all__ = ["SqlHistory", "SqlHistorySink"]
