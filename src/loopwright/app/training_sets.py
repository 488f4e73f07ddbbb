"""`lw.training_set`: features joined to rows as known at each row's instant, kept as a version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from loopwright.app.faces import Face, face_at, table_from, upload_of
from loopwright.app.feature_functions import hand_over
from loopwright.app.feature_services import DefinedService, functions_of, references_of
from loopwright.app.feature_views import kept_name
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Version
from loopwright.features.nouns import Split, TrainingFacts
from loopwright.features.picking import parsed

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["TrainingSet", "training_set"]

_PART = "split"


class TrainingSet:
    """A version of a dataset with features; made by `lw.training_set`."""

    def __init__(self, version: Version, facts: TrainingFacts, to: Face | None, purpose: str = "") -> None:
        self.version = version
        self._purpose = purpose
        self.facts = facts
        self._to = to
        self._table: pa.Table | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that are features, in order."""
        return self.facts.features

    @property
    def label(self) -> str:
        """The column that is to be predicted; empty where none was named."""
        return self.facts.label

    def __repr__(self) -> str:
        return f"<{self.version.ref}: {self.version.facts['rows']} rows, {len(self.features)} features>"

    def table(self, part: str | None = None) -> pa.Table:
        """Its rows, or those of one part of its split, as an Arrow table in the order of the spine."""
        if self._table is None:
            self._table = self._read()
        if part is None:
            return self._table
        if self.facts.split is None:
            raise Invalid(f"{self.version.ref} has no parts", hint="give split= when it is made")
        import pyarrow.compute as pc

        found = self._table.filter(pc.equal(self._table.column(_PART), part))
        if not found.num_rows:
            there = ", ".join(sorted(set(self._table.column(_PART).to_pylist())))
            raise Invalid(f"{self.version.ref} has no part {part!r}", hint=f"its parts are {there}")
        return found

    def pandas(self, part: str | None = None) -> pd.DataFrame:
        """The same as a frame of pandas."""
        return self.table(part).to_pandas()

    def _read(self) -> pa.Table:
        import io

        import pyarrow.parquet as pq

        with face_at(self._to) as face:
            number = str(self.version.number)
            blob = face.call("data.download", name=self.version.name, version=number, purpose=self._purpose)
            with blob.file:
                return pq.read_table(io.BytesIO(blob.file.read()))


def training_set(
    spine: Any,
    features: Sequence[Any] | DefinedService = (),
    *,
    service: str = "",
    name: str = "",
    time: str = "",
    label: str = "",
    split: Split | Mapping[str, float] | None = None,
    zone: str = "",
    purpose: str = "",
    to: Face | None = None,
) -> TrainingSet:
    """Join features to the rows of a spine, each as known at the row's own instant, and keep it as a version.

    The spine is a dataset or its name, a frame or a file; of the latter two the rows become the dataset
    `<name>/spine`. It has the entities of the views, the instant `time` (needed where it has several) and, as
    a rule, the `label`. `features` are views and references (`"weather:temp"`, `"weather:*"`), whose columns
    are then `weather.temp`; or a feature service, whose model inputs are then `x_<input>`. The result has one
    row for each of the spine, in its order. `split` puts each row into a part that stays with it:
    `{"train": 0.8, "test": 0.2}` by chance, `lw.Split(shares=..., seed=1, group="customer")` without tearing
    groups apart, or `lw.Split(until={"train": instant}, rest="test")` by time. `purpose` is what columns are
    read for, where they are ruled by purpose; without it that of the run (its tag `purpose`).
    """
    given = list(features.functions) if isinstance(features, DefinedService) else functions_of(features)
    service, references = _asked(features, service)
    chosen = name or _name_of(service, references)
    with face_at(to) as face:
        hand_over(face, given)
        version = face.call(
            "features.training_set",
            name=chosen,
            spine=_spine_of(face, spine, f"{chosen}/spine", zone),
            features=references,
            service=service,
            time=time,
            label=label,
            split=Split(shares=dict(split)) if isinstance(split, Mapping) else split,
            purpose=purpose,
        )
        body = face.call("data.show", name=version.name, version=str(version.number)).body
    return TrainingSet(version, msgspec.convert(body["facts"], TrainingFacts), to, purpose)


def _asked(features: Sequence[Any] | DefinedService, service: str) -> tuple[str, tuple[str, ...]]:
    if isinstance(features, DefinedService):
        if service:
            raise Invalid("two feature services are given", hint="give one")
        return f"{features.name}@{features.version.number}", ()
    if isinstance(features, str):
        raise Invalid("features are a list", hint=f'write ["{features}"], or service="{features}"')
    return service, references_of(features)


def _name_of(service: str, references: tuple[str, ...]) -> str:
    """A name for what nobody named: of the service, or of the views."""
    views = [service] if service else [parsed(each)[0] for each in references]
    return "training/" + "-".join(dict.fromkeys(view.partition("@")[0] for view in views))


def _spine_of(face: Face, spine: Any, name: str, zone: str) -> str:
    """The address of the version that has the spine's rows."""
    if kept_name(spine):
        found: str = spine.address()
        return found
    is_file = isinstance(spine, Path) or (isinstance(spine, str) and Path(spine).is_file())
    if isinstance(spine, str) and not is_file:
        return spine if spine.startswith("dataset:") else f"dataset:{spine}"
    upload = upload_of(table_from(spine, zone))
    version: Version = face.call(
        "data.upload", name=name, upload=upload, how="overwrite", schema="replace"
    ).version
    return str(version.ref)
