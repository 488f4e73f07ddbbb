"""All repositories over one session."""

from __future__ import annotations

from loopwright.adapters.sql.repositories.artifacts import SqlArtifacts
from loopwright.adapters.sql.repositories.assessments import SqlAssessments
from loopwright.adapters.sql.repositories.assets import SqlAliases, SqlAssets, SqlVersions
from loopwright.adapters.sql.repositories.jobs import SqlJobs
from loopwright.adapters.sql.repositories.journal import SqlJournal
from loopwright.adapters.sql.repositories.measures import SqlMeasures
from loopwright.adapters.sql.repositories.metrics import SqlMetrics
from loopwright.adapters.sql.repositories.observations import SqlDecisions, SqlSignals
from loopwright.adapters.sql.repositories.runs import SqlRuns
from loopwright.adapters.sql.repositories.spans import SqlSpans
from loopwright.adapters.sql.repositories.streams import SqlDocuments, SqlSegments
from loopwright.adapters.sql.repositories.traces import SqlTraces
from loopwright.adapters.sql.repositories.trash import SqlTrash
from loopwright.adapters.sql.statements import Session
from loopwright.ports.ledger import (
    Aliases,
    Artifacts,
    Assets,
    Decisions,
    Documents,
    Jobs,
    Journal,
    Metrics,
    Runs,
    Segments,
    Signals,
    Trash,
    Versions,
)
from loopwright.ports.measures import Measures
from loopwright.ports.traces import Assessments, Spans, Traces

__all__ = ["SqlTransaction"]


class SqlTransaction:
    """Fulfils `ports.ledger.Transaction` over a session; one thread at a time."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.assets: Assets = SqlAssets(session)
        self.versions: Versions = SqlVersions(session)
        self.aliases: Aliases = SqlAliases(session)
        self.measures: Measures = SqlMeasures(session)
        self.runs: Runs = SqlRuns(session)
        self.metrics: Metrics = SqlMetrics(session)
        self.artifacts: Artifacts = SqlArtifacts(session)
        self.signals: Signals = SqlSignals(session)
        self.decisions: Decisions = SqlDecisions(session)
        self.lines = SqlJournal(session)
        self.journal: Journal = self.lines
        self.jobs: Jobs = SqlJobs(session)
        self.segments: Segments = SqlSegments(session)
        self.documents: Documents = SqlDocuments(session)
        self.trash: Trash = SqlTrash(session)
        self.traces: Traces = SqlTraces(session)
        self.spans: Spans = SqlSpans(session)
        self.assessments: Assessments = SqlAssessments(session)
