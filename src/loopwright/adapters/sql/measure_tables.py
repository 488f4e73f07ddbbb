"""The table of what assets are found and ranked by."""

from __future__ import annotations

from sqlalchemy import ForeignKeyConstraint, Index, PrimaryKeyConstraint, SmallInteger, Table, text
from sqlalchemy.schema import Column

from loopwright.adapters.sql.columns import METADATA, REAL, big, real, text_column

__all__ = ["asset_measures"]

_MEASURED = text("is_nan IS NOT NULL")
_NEWEST = text("made_ms DESC")

asset_measures = Table(
    "asset_measures",
    METADATA,
    text_column("asset_id"),
    text_column("name"),
    text_column("space"),
    text_column("home"),
    text_column("asset"),
    big("made_ms"),
    Column("is_nan", SmallInteger, nullable=True),
    real("value"),
    Column("least", REAL, nullable=True),
    Column("most", REAL, nullable=True),
    big("at_us"),
    big("step"),
    text_column("place"),
    PrimaryKeyConstraint("asset_id", "name", name="asset_measures_pk"),
    ForeignKeyConstraint(["asset_id"], ["assets.id"], name="asset_measures_asset"),
    Index("asset_measures_made", "space", "home", "name", _NEWEST, "asset", "least", "most"),
    Index(
        "asset_measures_value",
        *("space", "home", "name", "is_nan", "value"),
        _NEWEST,
        *("asset", "least", "most"),
        sqlite_where=_MEASURED,
        postgresql_where=_MEASURED,
    ),
    sqlite_with_rowid=False,
)
