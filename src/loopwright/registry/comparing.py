"""Two versions of a model side by side: what they were made with, how well they did, what they consist of."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.manifests import Manifest
from loopwright.core.nouns import Json, LinkRole, Run, Version
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of
from loopwright.ports.ledger import Transaction
from loopwright.registry.logged import points_of, read_logged
from loopwright.registry.mlmodel import MLMODEL, read_mlmodel
from loopwright.registry.nouns import LOGGED, Comparison, Difference
from loopwright.registry.origins import run_in, version_at
from loopwright.registry.signatures import ColumnSpec, TensorSpec, read_signature

__all__ = ["compare", "differences", "metrics_of"]

Value = str | float
Told = dict[str, Value]

LOCK = "loopwright/environment.lock.txt"
"""where a run keeps the packages it ran with"""
_REQUIREMENTS = "requirements.txt"
_PINNED = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?\s*(?:==\s*([^\s;#]+))?")
_TEXT_LIMIT = 4 << 20
_CODE_TAGS = {
    "mlflow.source.git.commit": "commit",
    "mlflow.source.name": "source",
    "mlflow.project.entryPoint": "entry point",
}


def compare(ctx: Context, name: str, left: int, right: int) -> Comparison:
    """Two versions of a model by number; `NotFound` when one is none."""
    with ctx.read() as tx:
        versions = version_at(ctx, tx, name, left), version_at(ctx, tx, name, right)
        recorded = [_recorded(ctx, tx, version) for version in versions]
    kept = [_kept(ctx, version) for version in versions]
    sides = [{**recorded[at], **kept[at]} for at in (0, 1)]
    for at, side in enumerate(sides):
        for part in ("params", "code", "data", "environment"):
            side[part] = {**kept[at].get(part, {}), **recorded[at].get(part, {})}
    told = {part: differences(sides[0].get(part, {}), sides[1].get(part, {})) for part in _PARTS}
    return Comparison(
        left=versions[0],
        right=versions[1],
        same={part: same for part, (_, same) in told.items()},
        **{part: found for part, (found, _) in told.items()},
    )


_PARTS = (
    "params",
    "metrics",
    "signature",
    "data",
    "features",
    "environment",
    "code",
    "importance",
    "files",
    "tags",
)


def differences(left: Mapping[str, Value], right: Mapping[str, Value]) -> tuple[tuple[Difference, ...], int]:
    """What differs, by key, and how many entries are equal."""
    keys = sorted(left.keys() | right.keys())
    pairs = [Difference(key=key, left=left.get(key), right=right.get(key)) for key in keys]
    found = tuple(pair for pair in pairs if pair.left != pair.right)
    return found, len(pairs) - len(found)


# -- what the ledger has -----------------------------------------------------------------------


def _recorded(ctx: Context, tx: Transaction, version: Version) -> dict[str, Told]:
    """What its run and its logged model tell of a version."""
    run = run_in(ctx, tx, version.run_id) if version.run_id else None
    found: dict[str, Told] = {
        "params": _params(ctx, tx, version, run),
        "metrics": dict(_metrics(ctx, tx, version, run)),
        "tags": dict(version.tags),
    }
    if run is not None:
        found["data"] = _data(tx, run)
        found["code"] = _code(run)
        found["environment"] = _packages(_artifact(ctx, tx, f"run:{run.id}", LOCK))
    return found


def _params(ctx: Context, tx: Transaction, version: Version, run: Run | None) -> Told:
    """Of the run that made it and of the logged model it comes from, the model's before the run's."""
    model = tx.assets.find(ctx.space, LOGGED, str(version.facts.get("model_id", "")))
    return {**(run.params if run else {}), **(read_logged(model).params if model else {})}


def metrics_of(ctx: Context, tx: Transaction, version: Version) -> dict[str, float]:
    """The latest value of each metric, as its run or its logged model has it; `key on dataset` for these."""
    run = run_in(ctx, tx, version.run_id) if version.run_id else None
    return _metrics(ctx, tx, version, run)


def _metrics(ctx: Context, tx: Transaction, version: Version, run: Run | None) -> dict[str, float]:
    of_run = tx.metrics.latest(run.id) if run else {}
    found = {key: point.value for key, point in of_run.items()}
    points = points_of(tx, ctx.space, str(version.facts.get("model_id") or "-"))
    for point in sorted(points, key=lambda each: (each.at_us, each.step)):
        on = f" on {point.dataset_name}" if point.dataset_name else ""
        found[f"{point.key}{on}"] = point.value
    return {key: value for key, value in found.items() if not math.isnan(value)}


def _data(tx: Transaction, run: Run) -> Told:
    """The versions it read, and the datasets that were logged as read."""
    links = [link for link in tx.runs.links(run.id) if link.role is LinkRole.INPUT]
    found: Told = {f"{each.version.kind}:{each.version.name}": f"@{each.version.number}" for each in links}
    for each in run.facts.get("datasets", ()):
        found[str(each.get("name", ""))] = str(each.get("digest", ""))
    return found


def _code(run: Run) -> Told:
    found: Told = {name: run.tags[tag] for tag, name in _CODE_TAGS.items() if tag in run.tags}
    code = run.facts.get("code")
    if isinstance(code, dict):
        found |= {str(key): str(value) for key, value in code.items() if value}
    command = run.facts.get("command")
    return {**found, "command": str(command)} if command else found


def _artifact(ctx: Context, tx: Transaction, owner: str, path: str) -> bytes:
    file = tx.artifacts.get(ctx.space, owner, path)
    return b"" if file is None or file.size_bytes > _TEXT_LIMIT else _object(ctx, file.digest)


def _object(ctx: Context, digest: str) -> bytes:
    try:
        return ctx.ports.objects.get(digest)
    except NotFound:
        return b""


# -- what its own files say --------------------------------------------------------------------


def _kept(ctx: Context, version: Version) -> dict[str, Told]:
    """What the manifest of a version and the files in it tell."""
    manifest = manifest_of(ctx, version)
    body = manifest.body
    found: dict[str, Told] = {
        "params": _texts(body.get("params")),
        "importance": _numbers(body.get("importance")),
        "files": {entry.path: entry.digest for entry in manifest.entries},
        "features": _features(body),
        "signature": _signature(_file(ctx, manifest, MLMODEL)),
        "environment": _packages(_file(ctx, manifest, _REQUIREMENTS)),
        "data": {"training set": str(body["training_set"])} if "training_set" in body else {},
        "code": {"training code": str(body["code"])} if "code" in body else {},
    }
    return found


def _file(ctx: Context, manifest: Manifest, path: str) -> bytes:
    entry = next((each for each in manifest.entries if each.path == path), None)
    return b"" if entry is None or entry.size_bytes > _TEXT_LIMIT else _object(ctx, entry.digest)


def _features(body: Json) -> Told:
    """Its inputs with their place, and how many levels those have that are categories."""
    levels = body.get("categorical") or {}
    return {
        str(name): f"{at + 1}" + (f", {len(levels[name])} levels" if name in levels else "")
        for at, name in enumerate(body.get("features") or ())
    }


def _signature(mlmodel: bytes) -> Told:
    """The columns it takes and gives by name; nothing where the file cannot be read."""
    try:
        signature = read_signature(read_mlmodel(mlmodel).get("signature")) if mlmodel else None
    except Invalid:
        return {}
    found: Told = {}
    for side in ("inputs", "outputs") if signature else ():
        specs: tuple[ColumnSpec | TensorSpec, ...] = getattr(signature, side)
        found |= {f"{side[:-1]} {spec.name or at}": _type(spec) for at, spec in enumerate(specs)}
    return found


def _type(spec: ColumnSpec | TensorSpec) -> str:
    if isinstance(spec, TensorSpec):
        return f"{spec.dtype} {list(spec.shape)}"
    return spec.type if spec.required else f"{spec.type}, may be missing"


def _packages(text: bytes) -> Told:
    """Packages with their versions from lines such as `numpy==2.1`."""
    found: Told = {}
    for line in text.decode(errors="replace").splitlines():
        match = _PINNED.match(line)
        if match is not None and not line.lstrip().startswith(("#", "-")):
            found[match[1].lower()] = match[2] or "any"
    return found


def _texts(values: Json | None) -> Told:
    return {key: str(value) for key, value in (values or {}).items()}


def _numbers(values: Json | None) -> Told:
    return {key: float(value) for key, value in (values or {}).items()}
