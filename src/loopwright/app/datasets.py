"""`lw.dataset`: a versioned table as a program writes and reads it, on this machine or on a server."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from loopwright.app.faces import Face, face_at, table_from, upload_of
from loopwright.app.packages import ports_of
from loopwright.core.addresses import check_name, version_address
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Expr, Scalar, all_of, col, columns_of
from loopwright.core.instants import format_instant
from loopwright.core.nouns import Alias, Json, Version
from loopwright.data.comparing import DatasetDiff
from loopwright.data.declaring import contract as contract_from
from loopwright.data.drafting import Change
from loopwright.data.drifting import DatasetDrift
from loopwright.data.nouns import DATASET, Appended, DatasetDetail, QuarantinedRow
from loopwright.data.reading import read
from loopwright.data.rewriting import write_together
from loopwright.engine.current import run_at
from loopwright.engine.publishing import BRANCH, branch_name
from loopwright.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Dataset", "dataset"]

At: TypeAlias = int | str | datetime
"""which version: a number, `prod` (a tag or a branch), an instant, `#<digest>`; empty for the newest"""


class Dataset:
    """A dataset by name, which need not be there before the first write; made by `lw.dataset`.

    Rows are a frame or lazy frame of Polars, a frame of pandas, anything of Arrow, batches, a list of
    objects, lists by column, or the path of a file. A write makes one new version, and what it returns says
    what became of the rows.
    """

    def __init__(
        self, name: str, *, branch: str = "", purpose: str = "", zone: str = "", to: Face | None = None
    ) -> None:
        self.name = check_name(name)
        self._branch = branch
        self._purpose = purpose
        self._zone = zone
        self._to = to
        self._declared: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<dataset {self.name}{'@' if self._branch else ''}{self._branch}>"

    # -- writing ---------------------------------------------------------------

    def append(self, rows: Any, *, batch: str = "", expect: int | None = None) -> Appended:
        """Add rows as the next version. `batch` names them: sent again under that name, nothing is done.

        What breaks a quarantining rule of the contract is set aside with its reason; a batch that breaks a
        blocking rule is `PolicyBlocked` and leaves nothing. `expect` is the number the newest version must
        have (0: none), else `Conflict`; without it concurrent writers take turns.
        """
        return self._write("append", rows, batch=batch, expect=expect)

    def upsert(self, rows: Any, *, batch: str = "", expect: int | None = None) -> Appended:
        """Put rows in the place of those with the same keys; others are added."""
        return self._write("upsert", rows, batch=batch, expect=expect)

    def overwrite(
        self, rows: Any, *, replace_schema: bool = False, batch: str = "", expect: int | None = None
    ) -> Appended:
        """Put rows in the place of all there are; earlier versions keep theirs.

        Columns that would be gone, renamed or of another type are refused with a report of what readers
        would miss, unless `replace_schema`.
        """
        schema = "replace" if replace_schema else "compatible"
        return self._write("overwrite", rows, batch=batch, expect=expect, schema=schema)

    def delete(self, where: Expr | Mapping[str, Scalar], *, expect: int | None = None) -> Appended:
        """Take out the rows a condition is true of, or those with the given values, in one new version."""
        wanted = where if isinstance(where, Expr) else _equal(where)
        with face_at(self._to) as face:
            found: Appended = face.call(
                "data.delete_rows",
                name=self.name,
                where=wanted,
                branch=self._branch,
                expect=expect,
                purpose=self._purpose,
            )
            return found

    def derive(
        self,
        sql: str,
        *,
        reads: Mapping[str, str] | None = None,
        how: Literal["overwrite", "append", "upsert"] = "overwrite",
        keys: Sequence[str] = (),
        replace_schema: bool = False,
        purpose: str = "",
    ) -> Appended:
        """Make the rows by a SELECT over datasets, where these are: in the place of all rows, or by `how`.

        A table of the query is the dataset of its name, or the address that `reads` gives it. Purpose rules
        and tags go along with the columns, under whatever names.
        """
        found: Appended = self._call(
            "data.derive",
            sql=sql,
            reads=tuple(f"{table}={address}" for table, address in (reads or {}).items()),
            how=how,
            keys=tuple(keys),
            schema="replace" if replace_schema else "compatible",
            purpose=purpose or self._purpose,
        )
        return found

    def _write(self, how: str, rows: Any, *, batch: str, expect: int | None, **options: Any) -> Appended:
        table = table_from(rows, self._zone)
        given = {**self._declared, **options}
        with face_at(self._to) as face:
            if isinstance(face, Workspace):
                change = Change(
                    how=how,  # type: ignore[arg-type]  # one of the words above
                    name=self.name,
                    table=table,
                    branch=self._branch or None,
                    batch=batch or None,
                    expect=expect,
                    **given,
                )
                return write_together(face.context().under(run_at(face)), (change,))[0]
            found: Appended = face.call(
                "data.upload",
                name=self.name,
                upload=upload_of(table),
                how=how,
                branch=self._branch,
                batch=batch,
                expect=expect,
                **given,
            )
            return found

    # -- reading ---------------------------------------------------------------

    def read(
        self,
        at: At = "",
        *,
        columns: Sequence[str] | None = None,
        where: Expr | None = None,
        purpose: str = "",
    ) -> pa.Table:
        """The rows of a version in the order they came, as an Arrow table: the newest, `3`, `"@2013-06-01"`.

        Only the columns asked for, and the rows `where` is true of; in a condition an instant is its
        microseconds since 1970. Within `lw.run` the version becomes an input of the run. `Denied` when a
        column may not be read for the purpose.
        """
        why = purpose or self._purpose
        with face_at(self._to) as face:
            if isinstance(face, Workspace):
                ctx = face.context().under(run_at(face))
                return read(ctx, self.address(at), columns=columns, where=where, purpose=why)
            return self._fetched(face, at, columns, where, why)

    def _fetched(
        self, face: Face, at: At, columns: Sequence[str] | None, where: Expr | None, purpose: str
    ) -> pa.Table:
        import pyarrow.parquet as pq

        asked = None if columns is None else sorted({*columns, *(() if where is None else columns_of(where))})
        blob = face.call(
            "data.download",
            name=self.name,
            version=self._selector(at),
            columns=tuple(asked or ()),
            purpose=purpose,
        )
        with blob.file as file:
            table = pq.read_table(io.BytesIO(file.read()))
        if where is not None:
            table = ports_of(None).tables.select(table, where)
        return table if columns is None else table.select(list(columns))

    def show(self, at: At = "") -> DatasetDetail:
        """A version: its columns, number of rows, times, contract, tags."""
        found: DatasetDetail = self._call("data.show", version=self._selector(at))
        return found

    def profile(self, at: At = "") -> Json:
        """What the columns of a version hold, measured in the scan that published it."""
        found: Json = self._call("data.profile", version=self._selector(at), purpose=self._purpose)
        return found

    def versions(self) -> Iterator[Version]:
        """All versions, the newest first."""
        with face_at(self._to) as face:
            kind, name = self._line
            token = ""
            while True:
                page = face.call("assets.versions", kind=kind, name=name, token=token)
                yield from page.items
                if not (token := page.next_token):
                    return

    def diff(self, before: At, after: At = "", *, keys: Sequence[str] = (), limit: int = 20) -> DatasetDiff:
        """What differs from one version to another (the newest): columns, rows by key, profile."""
        with face_at(self._to) as face:
            found: DatasetDiff = face.call(
                "data.diff",
                before=self.address(before),
                after=self.address(after),
                keys=tuple(keys),
                limit=limit,
                purpose=self._purpose,
            )
            return found

    def drift(self, before: At, after: At = "", *, since: At = "") -> DatasetDrift:
        """How far each column is spread otherwise in one version than in another, by their profiles.

        With `since`, `after` stands for the rows that were appended since that version.
        """
        with face_at(self._to) as face:
            found: DatasetDrift = face.call(
                "data.drift",
                before=self.address(before),
                after=self.address(after),
                since=self.address(since) if since else "",
                purpose=self._purpose,
            )
            return found

    def quarantine(self, *, limit: int = 100) -> tuple[QuarantinedRow, ...]:
        """Rows that the contract kept out, with their reasons, the newest batch first."""
        return tuple(self._call("data.quarantine", limit=limit, purpose=self._purpose).items)

    # -- names -----------------------------------------------------------------

    def tag(self, tag: str, at: At = "", *, move: bool = False) -> Alias:
        """Name a version, so that `name@tag` means it and retention keeps it; `move` an old tag."""
        found: Alias = self._call("data.tag", tag=tag, version=self._selector(at), move=move)
        return found

    def branch(self, name: str, at: At | None = None) -> Dataset:
        """The dataset on a branch; with `at` the branch is made from that version (empty: the newest)."""
        if at is not None:
            self._call("data.branch", branch=name, at=self._selector(at))
        found = Dataset(self.name, branch=name, purpose=self._purpose, zone=self._zone, to=self._to)
        found._declared = self._declared
        return found

    def merge(self, branch: str) -> Version:
        """Make what a branch has the next version; `Conflict` when the dataset went on meanwhile."""
        found: Version = self._call("data.merge", branch=branch)
        return found

    def address(self, at: At = "") -> str:
        """The address of a version, as `dataset:flights@3`, for other calls."""
        text = _text(at, self.name)
        kind, name = self._line
        return str(version_address(kind, name, text))

    @property
    def _line(self) -> tuple[str, str]:
        return (BRANCH, branch_name(self.name, self._branch)) if self._branch else (DATASET, self.name)

    def _selector(self, at: At) -> str:
        """What operations that take a dataset's name are told of the version."""
        text = _text(at, self.name)
        if text and self._branch:
            raise Invalid(
                f"{self!r} is a branch, of which only the newest version is asked for so",
                hint="ask the dataset itself",
            )
        return text or self._branch

    def _call(self, operation: str, **arguments: Any) -> Any:
        with face_at(self._to) as face:
            return face.call(operation, name=self.name, **arguments)


def dataset(
    name: str,
    *,
    contract: object = None,
    event_time: str = "",
    known_at: str = "",
    keys: str | Sequence[str] = (),
    branch: str = "",
    purpose: str = "",
    zone: str = "",
    to: Face | None = None,
) -> Dataset:
    """A dataset to write to and read from, on this machine's workspace or on a server.

    A given `contract` (a declared class, its JSON form, a schema of Pandera) is what batches are held
    against from now on; an equal one changes nothing. `event_time` and `known_at` name the columns that say
    when a row happened and when it could first be known, `keys` those that name a row; they stand until they
    are given anew. `purpose` is what rows are read for, where columns are ruled by purpose. `zone` declares
    the zone of times written without one, which are refused else.
    """
    found = Dataset(name, branch=branch, purpose=purpose, zone=zone, to=to)
    wanted = (keys,) if isinstance(keys, str) else tuple(keys)
    told = {"event_time": event_time, "known_at": known_at, "keys": wanted}
    found._declared = {option: value for option, value in told.items() if value}
    if contract is not None:
        found._call("data.set_contract", contract=contract_from(contract), purpose=purpose)
    return found


def _equal(match: Mapping[str, Scalar]) -> Expr:
    wanted = [col(name).is_null() if value is None else col(name).eq(value) for name, value in match.items()]
    if not wanted:
        raise Invalid("it is not said which rows go", hint='give values, as {"tailnum": "N123"}')
    return all_of(*wanted)


def _text(at: At, name: str) -> str:
    """A version as it is selected; its whole address, `flights@3`, says the same."""
    if isinstance(at, datetime):
        return format_instant(at)
    own = str(at).removeprefix(f"{DATASET}:")
    named = own.startswith((f"{name}@", f"{name}#"))
    return (own[len(name) :] if named else str(at)).removeprefix("@")
