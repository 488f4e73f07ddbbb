"""What the ledger's tables are made of: one set of types for SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Computed, Float, Integer, MetaData, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeEngine

__all__ = ["BIG", "METADATA", "REAL", "TEXT", "big", "derived", "number", "real", "text_column"]

METADATA = MetaData()

TEXT: TypeEngine[str] = Text().with_variant(Text(collation="C"), "postgresql")
"""text in the order of its bytes"""
BIG: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
REAL: TypeEngine[float] = Float(53)


def text_column(name: str, *, null: bool = False) -> Column[str]:
    """A column of text."""
    return Column(name, TEXT, nullable=null)


def big(name: str, *, null: bool = False) -> Column[int]:
    """A column of whole numbers of 64 bits."""
    return Column(name, BIG, nullable=null)


def real(name: str, *, null: bool = False) -> Column[float]:
    """A column of numbers of double precision."""
    return Column(name, REAL, nullable=null)


class _Derived(Computed):
    """What the store works out: SQLite in its indexes alone, PostgreSQL, which cannot, in the row."""

    inherit_cache = True


@compiles(_Derived, "postgresql")
def _in_the_row(computed: _Derived, compiler: Any, **_: Any) -> str:
    text = compiler.sql_compiler.process(computed.sqltext, include_table=False, literal_binds=True)
    return f"GENERATED ALWAYS AS ({text}) STORED"


def derived(name: str, text: str) -> Column[int]:
    """A column of whole numbers that the store works out of the others; nobody writes it."""
    return Column(name, BIG, _Derived(text))


def number() -> Column[int]:
    """The number that the store itself gives a row, as its key."""
    return Column("no", BIG, primary_key=True, autoincrement=True)
