"""Logged models found and ordered by name, run, params and by what was measured of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

from loopwright.core.digests import digest_bytes
from loopwright.core.errors import Unavailable

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BATCH = 500
_NAME = 500
_NAMES = (
    *("asset_id", "name", "space", "home", "asset", "made_ms", "is_nan", "value", "least", "most"),
    *("at_us", "step", "place"),
)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, _TEXT, nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, _BIG, nullable=False)


def upgrade() -> None:
    op.create_table(
        "asset_measures",
        _text("asset_id"),
        _text("name"),
        _text("space"),
        _text("home"),
        _text("asset"),
        _big("made_ms"),
        sa.Column("is_nan", sa.SmallInteger(), nullable=True),
        sa.Column("value", sa.Float(53), nullable=False),
        sa.Column("least", sa.Float(53), nullable=True),
        sa.Column("most", sa.Float(53), nullable=True),
        _big("at_us"),
        _big("step"),
        _text("place"),
        sa.PrimaryKeyConstraint("asset_id", "name", name="asset_measures_pk"),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name="asset_measures_asset"),
        sqlite_with_rowid=False,
    )
    _fill()
    newest, measured = sa.text("made_ms DESC"), sa.text("is_nan IS NOT NULL")
    rest = (newest, "asset", "least", "most")
    op.create_index("asset_measures_made", "asset_measures", ["space", "home", "name", *rest])
    op.create_index(
        "asset_measures_value",
        "asset_measures",
        ["space", "home", "name", "is_nan", "value", *rest],
        sqlite_where=measured,
        postgresql_where=measured,
    )
    op.drop_index("assets_newest", "assets")


def downgrade() -> None:
    raise Unavailable(
        "a ledger is not brought back to an older revision", hint="restore the copy made before"
    )


def _fill() -> None:
    """A line of its name, one of its run, and one of each metric, of each logged model."""
    bind, after = op.get_bind(), ""
    asked = sa.text(
        "SELECT id, space, name, created_at, facts FROM assets "
        "WHERE kind = 'logged_model' AND id > :after ORDER BY id LIMIT :limit"
    )
    marks = ", ".join(f":{name}" for name in _NAMES)
    add = sa.text(f"INSERT INTO asset_measures ({', '.join(_NAMES)}) VALUES ({marks})")
    while assets := bind.execute(asked, {"after": after, "limit": _BATCH}).all():
        lines = [line for asset in assets for line in _lines(bind, asset)]
        if lines:
            bind.execute(add, lines)
        after = assets[-1][0]


def _lines(bind: sa.Connection, asset: Any) -> Iterable[dict[str, Any]]:
    asset_id, space, name, made, told = asset
    facts = json.loads(told)
    empty = {"is_nan": None, "value": 0.0, "least": None, "most": None, "at_us": 0, "step": 0, "place": ""}
    whose = {"asset_id": asset_id, "space": space, "home": facts["experiment_id"], "asset": name}
    words = ["is", f"name/{facts['name'][:_NAME]}"]
    words += [f"run/{facts['source_run_id']}"] if facts.get("source_run_id") else []
    words += [_short("param/", [key, value]) for key, value in facts.get("params", {}).items()]
    for word in words:
        yield {**whose, "made_ms": made // 1000, **empty, "name": word}
    found: dict[str, dict[str, Any]] = {}
    points = bind.execute(
        sa.text(
            "SELECT key, body FROM documents WHERE space = :space AND collection = 'logged_model_points' "
            "AND key >= :start AND key < :end ORDER BY key"
        ),
        {"space": space, "start": f"{name}/", "end": f"{name}0"},
    )
    for key, body in points:
        point = json.loads(body)
        for measure in _names(point):
            _fold(found.setdefault(measure, {**empty, "name": measure}), point, key.rpartition("/")[2])
    for line in found.values():
        yield {**whose, "made_ms": made // 1000, **line}


def _names(point: dict[str, Any]) -> list[str]:
    places: list[list[str]] = [[]]
    if point.get("dataset_name"):
        places.append([point["dataset_name"]])
        if point.get("dataset_digest"):
            places.append([point["dataset_name"], point["dataset_digest"]])
    of_metric = [[point["key"], *place] for place in places]
    return [_short("metric/", name) for name in of_metric] + [_short("on/", place) for place in places[1:]]


def _short(prefix: str, parts: list[str]) -> str:
    written = msgspec.json.encode(parts)
    text = written.decode()
    return f"{prefix}{text if len(text) <= 300 else f'{text[:200]}~{digest_bytes(written)}'}"


def _fold(line: dict[str, Any], point: dict[str, Any], place: str) -> None:
    value = float(point["value"])
    mine = (point.get("at_us", 0), point.get("step", 0))
    if not line["place"] or mine > (line["at_us"], line["step"]):
        is_nan = math.isnan(value)
        told = {"is_nan": int(is_nan), "value": 0.0 if is_nan else value, "place": place}
        line |= {**told, "at_us": mine[0], "step": mine[1]}
    if not math.isnan(value):
        line["least"] = value if line["least"] is None else min(line["least"], value)
        line["most"] = value if line["most"] is None else max(line["most"], value)
