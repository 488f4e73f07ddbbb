"""Tables by Polars and Arrow: Parquet, expressions, checks, joins, profiles."""

from loopwright.adapters.tables.engine import PolarsTables

__all__ = ["PolarsTables"]
