"""The tables of traces: rows by number, what they are found by beside them, and the spans as they came.

Times are milliseconds since 1970, those of spans nanoseconds.
"""

from __future__ import annotations

from sqlalchemy import Index, PrimaryKeyConstraint, SmallInteger, Table, UniqueConstraint
from sqlalchemy.schema import Column

from loopwright.adapters.sql.columns import METADATA, big, number, real, text_column

__all__ = ["assessments", "spans", "trace_links", "trace_metadata", "trace_tags", "traces"]

_started = big("started_ms")

traces = Table(
    "traces",
    METADATA,
    number(),
    text_column("id"),
    text_column("space"),
    text_column("experiment_id"),
    _started,
    big("duration_ms", null=True),
    text_column("state"),
    text_column("client_request_id", null=True),
    text_column("request_preview", null=True),
    text_column("response_preview", null=True),
    text_column("session", null=True),
    text_column("tags"),
    text_column("metadata"),
    UniqueConstraint("space", "id", name="traces_id"),
    Index("traces_start", "space", "experiment_id", _started.desc(), "id"),
    Index("traces_session", "space", "session"),
)


def _texts_of_traces(name: str) -> Table:
    """A text by trace and key, found by its first characters."""
    return Table(
        name,
        METADATA,
        big("trace_no"),
        big("key_no"),
        text_column("head"),
        text_column("value"),
        text_column("space"),
        PrimaryKeyConstraint("trace_no", "key_no", name=f"{name}_pk"),
        Index(f"{name}_value", "key_no", "head", "trace_no"),
        sqlite_with_rowid=False,
    )


trace_tags = _texts_of_traces("trace_tags")
trace_metadata = _texts_of_traces("trace_metadata")

trace_links = Table(
    "trace_links",
    METADATA,
    big("trace_no"),
    text_column("kind"),
    text_column("target"),
    text_column("space"),
    PrimaryKeyConstraint("trace_no", "kind", "target", name="trace_links_pk"),
    Index("trace_links_target", "space", "kind", "target", "trace_no"),
    sqlite_with_rowid=False,
)

spans = Table(
    "spans",
    METADATA,
    big("trace_no"),
    text_column("id"),
    text_column("space"),
    text_column("parent_id", null=True),
    text_column("name"),
    text_column("type", null=True),
    text_column("status"),
    big("start_ns"),
    big("end_ns", null=True),
    text_column("content"),
    PrimaryKeyConstraint("trace_no", "id", name="spans_pk"),
    Index("spans_facts", "trace_no", "name", "type", "status"),
)

assessments = Table(
    "assessments",
    METADATA,
    text_column("id"),
    text_column("space"),
    big("trace_no"),
    text_column("name"),
    text_column("kind"),
    text_column("value"),
    real("measure", null=True),
    text_column("error", null=True),
    text_column("source_type"),
    text_column("source_id", null=True),
    text_column("run_id", null=True),
    text_column("span_id", null=True),
    text_column("rationale", null=True),
    text_column("metadata"),
    Column("is_session_wide", SmallInteger, nullable=False),
    big("created_ms"),
    big("updated_ms"),
    text_column("overrides", null=True),
    Column("valid", SmallInteger, nullable=False),
    PrimaryKeyConstraint("space", "id", name="assessments_pk"),
    Index("assessments_trace", "trace_no", "created_ms"),
    Index("assessments_name", "space", "kind", "name", "trace_no"),
)
