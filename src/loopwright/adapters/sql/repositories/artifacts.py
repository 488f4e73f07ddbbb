"""Files of runs and models: paths to objects."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import bindparam, delete, select

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.rows import Shape
from loopwright.adapters.sql.schema import TEXT
from loopwright.adapters.sql.statements import Session, upsert
from loopwright.ports.ledger import Artifact

__all__ = ["SqlArtifacts"]

_ARTIFACT = Shape(Artifact, schema.artifacts)
_a = schema.artifacts.c
_OF = (_a.space == bindparam("space"), _a.owner == bindparam("owner"))
_GET = select(*_ARTIFACT.columns).where(*_OF, _a.path == bindparam("path"))
_PUT = upsert(schema.artifacts, ["space", "owner", "path"])
_REMOVE = delete(schema.artifacts).where(*_OF, _a.path == bindparam("path"))
_ALL = select(*_ARTIFACT.columns).where(*_OF).order_by(_a.path)
_UNDER = _ALL.where(_a.path >= bindparam("low", type_=TEXT), _a.path < bindparam("high", type_=TEXT))
_DIGESTS = select(_a.digest).distinct()


class SqlArtifacts:
    """Fulfils `ports.ledger.Artifacts`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, artifact: Artifact) -> None:
        """Make or replace the file at a path."""
        self._session.change(_PUT, _ARTIFACT.write(artifact))

    def get(self, space: str, owner: str, path: str) -> Artifact | None:
        """The file at a path, or None."""
        row = self._session.row(_GET, space=space, owner=owner, path=path)
        return None if row is None else _ARTIFACT.read(row)

    def under(self, space: str, owner: str, folder: str) -> Iterator[Artifact]:
        """The files below a folder, however deep, by path."""
        if not folder:
            rows = self._session.rows(_ALL, space=space, owner=owner)
        else:
            rows = self._session.rows(_UNDER, space=space, owner=owner, low=f"{folder}/", high=f"{folder}0")
        return map(_ARTIFACT.read, rows)

    def remove(self, space: str, owner: str, path: str) -> None:
        """Take a file away; nothing happens when it is not there."""
        self._session.change(_REMOVE, {"space": space, "owner": owner, "path": path})

    def digests(self) -> Iterator[str]:
        """Every digest: roots of what is reachable."""
        return iter([row[0] for row in self._session.rows(_DIGESTS)])
