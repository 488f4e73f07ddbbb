"""Params and tags of runs as rows, where searches find them; the run's own row holds them whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.arrays import arrays_of
from loopwright.adapters.sql.repositories.keys import key_numbers, known_keys
from loopwright.adapters.sql.statements import Session, Statement, Upsert, upsert

__all__ = ["HEAD", "PARAMS", "TAGS", "Place", "put_texts", "write_texts"]

HEAD = 100
"""how many characters of a text its index holds"""


class Place(NamedTuple):
    """Where a run's rows stand."""

    run_no: int
    space: str
    experiment_no: int


class Texts(NamedTuple):
    """The statements of one of the two tables."""

    put: Upsert
    remove: Statement
    of_new: str
    """puts the texts of a run that was put a moment ago: of PostgreSQL"""


def _texts(table: Any) -> Texts:
    is_row = (table.c.run_no == bindparam("run_no"), table.c.key_no == bindparam("key_no"))
    of_new = f"""
INSERT INTO {table.name} (run_no, key_no, head, value, space, experiment_no)
SELECT r.no, t.key_no, t.head, t.value, r.space, r.experiment_no
FROM runs r, unnest(?::bigint[], ?::text[], ?::text[]) t (key_no, head, value)
WHERE r.id = ?::text COLLATE "C"
"""
    return Texts(upsert(table, ["run_no", "key_no"]), delete(table).where(*is_row), of_new)


PARAMS = _texts(schema.run_params)
TAGS = _texts(schema.run_tags)


def put_texts(session: Session, table: Texts, run_id: str, space: str, texts: Mapping[str, str]) -> None:
    """Write the rows of a run that was put a moment ago, whose number nobody has asked for yet."""
    if texts:
        keys = key_numbers(session, space, set(texts))
        rows = [(keys[name], value[:HEAD], value) for name, value in texts.items()]
        session.put_text(table.of_new, (*arrays_of(rows), run_id))


def write_texts(
    session: Session, table: Texts, place: Place, before: Mapping[str, str], after: Mapping[str, str]
) -> None:
    """Bring the rows of a run from what they were to what they are."""
    changed = {name: value for name, value in after.items() if before.get(name) != value}
    if changed:
        keys = key_numbers(session, place.space, set(changed))
        session.put_tuples(
            table.put,
            [
                (place.run_no, keys[name], value[:HEAD], value, place.space, place.experiment_no)
                for name, value in changed.items()
            ],
        )
    gone = [name for name in before if name not in after]
    if gone:
        keys = known_keys(session, place.space, gone)
        session.change_many(table.remove, [{"run_no": place.run_no, "key_no": keys[name]} for name in gone])
