"""What reads the bytes of strangers: each refuses with an error of ours, or its promise holds."""

from __future__ import annotations

import io
import ipaddress
import json
from collections.abc import Callable
from functools import partial
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.adapters.frameworks.trees import check_xgboost
from loopwright.adapters.notify.addresses import Rules, is_public, permitted, place_of
from loopwright.adapters.sql.listing import read_token, write_token
from loopwright.core.addresses import parse_address
from loopwright.core.errors import Invalid, LoopwrightError
from loopwright.core.instants import duration, format_duration, format_instant, parse_instant
from loopwright.core.nesting import check_json
from loopwright.core.plain_yaml import read_yaml
from loopwright.data.uploads import read_table
from loopwright.registry.framing import unframed
from loopwright.registry.mlmodel import chosen_flavor, read_mlmodel
from loopwright.registry.signatures import read_signature
from loopwright.registry.sources import ModelFiles, RunFiles, read_source
from loopwright.surfaces.http.routing import segments_of
from loopwright.surfaces.inference.bodies import split_head
from loopwright.surfaces.inference.wire import read_request
from loopwright.surfaces.mlflow.intake import LogBatch
from loopwright.surfaces.mlflow.ranges import NoSuchPart, part_of
from loopwright.surfaces.mlflow.trace_wire import AssessmentIn
from loopwright.surfaces.mlflow.wire import Reader
from loopwright.surfaces.otlp import plain, protobuf
from loopwright.surfaces.otlp.values import made
from loopwright.tracking.dialects import (
    EVALUATION_DATASETS,
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    RUNS,
    TRACES,
    Dialect,
)
from loopwright.tracking.grammar import parse_filter, parse_order
from loopwright.tracking.paths import file_path, folder_path

__all__ = ["SEEDS", "TARGETS", "Target"]

Target = Callable[[bytes], None]
_RULES = Rules()
_PATH = 4096
_PARTS, _DEPTH = 5, 3
_TYPES: tuple[tuple[type, ...], ...] = ((int,), (str,), (str, int), (float, str), (int, float, str))
_DIALECTS: dict[str, Dialect] = {
    "runs": RUNS,
    "experiments": EXPERIMENTS,
    "registered models": REGISTERED_MODELS,
    "model versions": MODEL_VERSIONS,
    "logged models": LOGGED_MODELS,
    "traces": TRACES,
    "evaluation datasets": EVALUATION_DATASETS,
}
_BATCH, _ASSESSMENT = Reader(LogBatch), Reader(AssessmentIn)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _search(dialect: Dialect, data: bytes) -> None:
    assert parse_filter(_text(data), dialect) == parse_filter(_text(data), dialect)


def _order(dialect: Dialect, data: bytes) -> None:
    keys = parse_order(_text(data).split("\n"), dialect)
    assert keys, "the order is total"


def _address(data: bytes) -> None:
    found = parse_address(_text(data))
    assert parse_address(str(found)) == found


def _instant(data: bytes) -> None:
    found = parse_instant(_text(data))
    assert parse_instant(format_instant(found)) == found


def _duration(data: bytes) -> None:
    found = duration(_text(data))
    assert duration(format_duration(found)) == found


def _token(data: bytes) -> None:
    for types in _TYPES:
        try:
            found = read_token(_text(data), types)
        except LoopwrightError:
            continue
        assert len(found) == len(types)
        assert read_token(write_token(found), types) == found or found != found  # noqa: PLR0124 - NaN alone differs


def _file_path(data: bytes) -> None:
    for read in (file_path, folder_path):
        _is_inside(read(_text(data)))


def _is_inside(path: str) -> None:
    assert not path.startswith("/")
    assert not {"\\", "\0"} & set(path), path
    assert unquote(path) == path
    assert not {"..", "."} & set(path.split("/")), path


def _source(data: bytes) -> None:
    found = read_source(_text(data))
    if isinstance(found, RunFiles | ModelFiles):
        _is_inside(found.folder)


def _raw_path(data: bytes) -> None:
    for part in segments_of(data, _PATH):
        assert part.isprintable()
        assert not {"..", "."} & set(part.replace("\\", "/").split("/"))


def _depth(data: bytes) -> None:
    """What is let through holds no more, as a walk over the decoded value counts."""
    check_json(data, parts=_PARTS, depth=_DEPTH)
    try:
        waiting = [(json.loads(data), 1)]
    except (ValueError, RecursionError):
        return
    parts = 0
    while waiting:
        value, level = waiting.pop()
        if isinstance(value, list | dict):
            parts += 1
            assert level <= _DEPTH
            waiting += [(each, level + 1) for each in (value.values() if isinstance(value, dict) else value)]
    assert parts <= _PARTS


def _yaml(data: bytes) -> None:
    """Plain values come out, and nothing else."""
    waiting, plain_types = (
        [read_yaml(data)],
        {"str", "int", "float", "bool", "NoneType", "bytes", "date", "datetime"},
    )
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value
        else:
            assert type(value).__name__ in plain_types, type(value)


def _mlmodel(data: bytes) -> None:
    content = read_mlmodel(data)
    section = chosen_flavor(
        content, {"sklearn": 1, "python_function": 1}, {"MLmodel": b"", "model.skops": b""}
    )
    assert section.name in {"sklearn", "python_function"}
    for field in ("data", "pickled_model", "model_path"):
        assert section.settings.get(field) in {None, "MLmodel", "model.skops"}
    read_signature(content.get("signature"))


def _spans(data: bytes, read: Callable[[bytes], object]) -> None:
    for _, parts in read(data):  # type: ignore[attr-defined]  # an iterator, by either form
        for each in parts:
            span = made(each)
            assert len(span.trace_id) == 35
            assert span.id


def _files(data: bytes) -> None:
    """A stream of files, cut into pieces where its first byte says."""
    size = data[0] + 1 if data else 1
    taken = 0
    for path, pieces in unframed(data[at : at + size] for at in range(1, len(data), size)):
        _is_inside(path)
        taken += sum(map(len, pieces))
    assert taken <= len(data)


def _infer(data: bytes) -> None:
    size, _, body = data.partition(b"\n")
    head, tail = split_head(body, size or None)
    assert len(head) + len(tail) == len(body)
    read_request(head)


def _range(data: bytes) -> None:
    asked, _, size = data.rpartition(b"\n")
    length = int.from_bytes(size[:4])
    try:
        found = part_of({b"range": asked}, length, b'"x"')
    except NoSuchPart:
        return
    assert found is None or 0 <= found.start < found.stop <= length


def _hook(data: bytes) -> None:
    """An address in a URL that is let through is public in every spelling, and is what any parser finds."""
    url = _text(data)
    place = place_of(url, _RULES)
    assert place.scheme == "https"
    assert urlsplit(url).hostname == place.host or ":" in place.host
    try:
        address = ipaddress.ip_address(place.host)
    except ValueError:
        return
    assert is_public(permitted(place, [address], _RULES))


def _trees(data: bytes) -> None:
    check_xgboost(data, "model.ubj")


def _arguments(reader: Reader, data: bytes) -> None:
    reader.body(data, {})


def _rows(data: bytes, form: str) -> None:
    read_table(io.BytesIO(data), form, {}, path="rows").validate(full=True)


TARGETS: dict[str, Target] = {
    **{f"search of {name}": partial(_search, dialect) for name, dialect in _DIALECTS.items()},
    **{f"order of {name}": partial(_order, dialect) for name, dialect in _DIALECTS.items()},
    "address": _address,
    "instant": _instant,
    "duration": _duration,
    "page token": _token,
    "artifact path": _file_path,
    "raw path": _raw_path,
    "source": _source,
    "JSON": _depth,
    "YAML": _yaml,
    "MLmodel": _mlmodel,
    "spans in JSON": partial(_spans, read=plain.read),
    "spans in protobuf": partial(_spans, read=protobuf.read),
    "stream of files": _files,
    "inference": _infer,
    "range": _range,
    "webhook": _hook,
    "trees": _trees,
    "batch": partial(_arguments, _BATCH),
    "assessment": partial(_arguments, _ASSESSMENT),
    **{
        f"rows in {form}": partial(_rows, form=form) for form in ("ndjson", "json", "csv", "arrow", "parquet")
    },
}

_FILTER = b"metrics.loss > 0.1 AND (params.`a b` LIKE '%x%' OR NOT tags.t IN ('a', 'b')) AND status = 'x'"
_SPAN = (
    b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":'
    b'"b7ad6b7169203331","name":"c","startTimeUnixNano":"1","attributes":[{"key":"k","value":{"arrayValue":'
    b'{"values":[{"intValue":"1"},{"doubleValue":1.5}]}}}]}]}]}]}'
)


def _kept(form: str) -> bytes:
    """A small table as bytes."""
    table = pa.table({"a": [1, None, 3], "b": ["x", "yy", None], "c": [0.5, 1.5, None]})
    sink = io.BytesIO()
    if form == "parquet":
        pq.write_table(table, sink, compression="NONE")
    else:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


SEEDS: dict[str, tuple[bytes, ...]] = {
    "rows": (
        b'{"a":1,"b":null}\n{"a":2,"b":"x"}\n',
        b'[{"a":1},{"a":null}]',
        b"a,b\n1,x\n2,\n",
        b"a;b\n1;'x'\n",
        _kept("arrow"),
        _kept("parquet"),
    ),
    "search": (_FILTER, b"name ILIKE 'x'", b"trace.text RLIKE '(a+)+'", b"span.attributes.x = 'y'"),
    "order": (b"metrics.loss DESC\nparams.`a` ASC", b"name", b"start_time"),
    "address": (
        b"model:m@3",
        b"model:m@champion",
        b"dataset:a%20b@2013-06-01",
        b"run:01",
        b"model:m#" + b"0" * 64,
    ),
    "instant": (b"2013-06-01", b"2013-06-01T12:00:00.5Z", b"2013-06-01T12:00+02:00"),
    "duration": (b"3h", b"1d", b"90s"),
    "page": (write_token([1, "x"]).encode(), write_token([1.5, "y"]).encode()),
    "artifact": (b"a/b.txt", b"a%2e%2e/x", b"model/data/m.pkl"),
    "raw": (b"/api/v1/models/a%2Fb/versions", b"/x/%2e%2e/y"),
    "source": (
        b"runs:/0123456789abcdef0123456789abcdef/model",
        b"models:/m-0123/x",
        b"mlflow-artifacts:/1/r/artifacts/m",
    ),
    "JSON": (b'{"a":["]",{"b\\"":[1,2]}]}', b'[[[["\\\\"]]]]'),
    "YAML": (b"a: {b: [1, x]}\nc: 'd'\n", b"a: &x 1\nb: *x", b"!!python/name:os.system"),
    "MLmodel": (
        b'flavors:\n  sklearn: {pickled_model: model.skops}\nsignature:\n  inputs: \'[{"type":"double"}]\'\n',
    ),
    "spans": (_SPAN,),
    "stream": (b'\x07{"path":"a/b","size":3}\nabc{"path":"c","size":0}\n',),
    "inference": (b'\n{"inputs":[{"name":"a","datatype":"FP64","shape":[1],"data":[1.5]}]}',),
    "range": (b"bytes=0-4\n\0\0\0\x09", b"bytes=-5\n\0\0\0\x09", b"bytes=3-\n\0\0\0\x09"),
    "webhook": (b"https://example.com/x", b"https://[::ffff:10.0.0.1]/", b"https://8.8.8.8:8443/a?b"),
    "trees": (
        b'{"learner":{"learner_model_param":{"num_feature":"1","num_class":"0"}}}',
        b"{L\x00\x00\x00\x00",
    ),
    "batch": (b'{"run_id":"r","metrics":[{"key":"k","value":"NaN","timestamp":1,"step":"2"}],"params":[]}',),
    "assessment": (b'{"assessment_name":"a","feedback":{"value":[1,{"b":null}]}}',),
}
"""to begin with, by the first word of a target's name"""


def asked(target: Target, data: bytes) -> None:
    """One try; an error of ours is an answer."""
    try:
        target(data)
    except LoopwrightError as error:
        refused = error
    else:
        return
    assert refused.message
    assert refused.status < 500 or not isinstance(refused, Invalid)
