"""Which adapter fulfils which port, imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from loopwright.adapters.world import (
    FileKeys,
    FileSigner,
    ProcessFunctions,
    RandomIds,
    ReplayClock,
    SystemClock,
)
from loopwright.core.errors import Invalid
from loopwright.core.sizes import parse_size
from loopwright.workspace.feature_modules import functions_in
from loopwright.workspace.settings import Settings

if TYPE_CHECKING:
    from loopwright.adapters.sql import UpgradeReport
    from loopwright.engine.context import Context
    from loopwright.ports.courier import Courier, Safe
    from loopwright.ports.functions import Functions
    from loopwright.ports.lakes import Lake
    from loopwright.ports.ledger import Ledger
    from loopwright.ports.objects import Objects
    from loopwright.ports.online import Online
    from loopwright.ports.predictors import Framework, Packager, SearchSpace, Tuner
    from loopwright.ports.queries import Queries
    from loopwright.ports.scans import Scanner
    from loopwright.ports.sources import Sources
    from loopwright.ports.tables import Tables
    from loopwright.ports.world import Clock, Ids, Keys, Signer
    from loopwright.serving.runtime import Runtime

__all__ = [
    "ONLINE_FILE",
    "Assembly",
    "Frameworks",
    "Lakes",
    "ReplayClock",
    "runtime_of",
    "scanner_of",
    "slice_modules",
    "upgrade_database",
]

ONLINE_FILE = "online.db"
"""name of the file of online features in the workspace's folder"""

_MODULES = (
    "engine.platform",
    "engine.journal",
    "engine.upkeep",
    "engine.collection",
    "data.verbs",
    "data.checking",
    "data.releasing",
    "data.purposes",
    "data.catalogue",
    "data.labelling",
    "data.branches",
    "data.comparing",
    "data.drifting",
    "data.retention",
    "data.files",
    "data.profiling",
    "data.deduplicating",
    "data.deriving",
    "data.exploring",
    "data.sources",
    "data.exchanging",
    "features.verbs",
    "features.training",
    "features.backfilling",
    "tracking.verbs",
    "tracking.recording",
    "tracking.artifacts",
    "tracking.experiments",
    "tracking.searching",
    "tracking.retention",
    "tracking.removing",
    "tracking.views",
    "tuning.verbs",
    "registry.verbs",
    "registry.rolling",
    "registry.seeking",
    "registry.requests",
    "registry.keeping",
    "gates.verbs",
    "serving.verbs",
    "monitoring.verbs",
    "monitoring.react",
    "alerts.verbs",
    "alerts.deliveries",
    "alerts.react",
    "llm.datasets",
    "llm.verbs",
    "loops.training",
    "loops.retraining",
    "loops.rollout",
    "loops.incidents",
    "loops.why",
    "loops.reproduce",
    "loops.importing",
    "loops.trash",
    "loops.erasing",
    "loops.restoring",
)


def _lightgbm() -> Framework:
    from loopwright.adapters.frameworks.lightgbm import LightGBM

    return LightGBM()


class Frameworks(Mapping[str, "Framework"]):
    """Learning frameworks by flavour, each imported at its first use."""

    _LOADERS: Mapping[str, Callable[[], Framework]] = {"lightgbm": _lightgbm}

    def __init__(self) -> None:
        self._loaded: dict[str, Framework] = {}

    def __getitem__(self, flavor: str) -> Framework:
        if flavor not in self._LOADERS:
            known = ", ".join(self._LOADERS)
            raise Invalid(f"there is no framework {flavor!r}", hint=f"the flavours are {known}")
        if flavor not in self._loaded:
            self._loaded[flavor] = self._LOADERS[flavor]()
        return self._loaded[flavor]

    def __iter__(self) -> Iterator[str]:
        return iter(self._LOADERS)

    def __len__(self) -> int:
        return len(self._LOADERS)


_PACKAGERS: Mapping[str, tuple[str, str]] = {
    "sklearn": ("sklearn", "SklearnPackager"),
    "lightgbm": ("lightgbm_text", "LightGBMPackager"),
    "xgboost": ("xgboost", "XGBoostPackager"),
    "onnx": ("onnx", "OnnxPackager"),
    "pytorch": ("torch", "TorchPackager"),
    "python_function": ("python", "PythonPackager"),
}
"""module and class of each, by the name of its section in MLmodel"""


class Packagers(Mapping[str, "Packager"]):
    """What packs models, by flavour, each imported at its first use."""

    def __init__(self) -> None:
        self._loaded: dict[str, Packager] = {}

    def __getitem__(self, flavor: str) -> Packager:
        if flavor not in self._loaded:
            module, name = _PACKAGERS[flavor]
            made = import_module(f"loopwright.adapters.frameworks.{module}")
            self._loaded[flavor] = getattr(made, name)()
        return self._loaded[flavor]

    def __iter__(self) -> Iterator[str]:
        return iter(_PACKAGERS)

    def __len__(self) -> int:
        return len(_PACKAGERS)


_LAKES: Mapping[str, tuple[str, str]] = {
    "delta": ("delta", "DeltaLake"),
    "iceberg": ("iceberg", "IcebergLake"),
}


class Lakes(Mapping[str, "Lake"]):
    """Formats of tables of others, each imported at its first use."""

    def __getitem__(self, form: str) -> Lake:
        module, name = _LAKES[form]
        made: Lake = getattr(import_module(f"loopwright.adapters.lakes.{module}"), name)()
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(_LAKES)

    def __len__(self) -> int:
        return len(_LAKES)


_ONLINE: Mapping[str, tuple[str, str, str]] = {
    "redis": ("redis", "RedisOnline", "redis"),
    "rediss": ("redis", "RedisOnline", "redis"),
    "unix": ("redis", "RedisOnline", "redis"),
    "postgresql": ("postgres", "PostgresOnline", "postgres"),
}
"""module, class and extra of each store of online features, by the scheme of its URL"""


def _online_at(url: str) -> Online:
    """`Invalid` for a URL of another kind, or where the driver is not installed."""
    scheme = url.partition(":")[0]
    if scheme not in _ONLINE:
        raise Invalid(
            f"online features cannot be at {scheme}:",
            hint="leave it empty, or give redis:// or postgresql://",
        )
    module, name, extra = _ONLINE[scheme]
    try:
        found = getattr(import_module(f"loopwright.adapters.online.{module}"), name)
    except ImportError as error:
        raise Invalid(
            f"the driver for {scheme}: is not installed", hint=f'pip install "loopwright[{extra}]"'
        ) from error
    opened: Online = found(url)
    return opened


class Assembly:
    """All ports of one workspace, each built when first asked for."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._ids = RandomIds()
        self._forgoes_pandas = False
        self._functions = ProcessFunctions(lambda: functions_in(settings.feature_modules))

    @property
    def folder(self) -> Path:
        """The workspace's folder: anchors of the journal, keys, backups' sources."""
        return self._settings.folder

    @property
    def clock(self) -> Clock:
        """The system's clock, or a replay's."""
        return self._clock

    @property
    def ids(self) -> Ids:
        """Ids that sort by time."""
        return self._ids

    @property
    def functions(self) -> Functions:
        """Those that code of this process handed over, then those of the modules that a setting names."""
        return self._functions

    def look_for_functions(self) -> None:
        """Import the modules of feature functions that a setting names; `Invalid` where one cannot be."""
        self._functions.look()

    @property
    def trash_days(self) -> int:
        """As the setting says."""
        return self._settings.trash_days

    @cached_property
    def keys(self) -> Keys:
        """The workspace's signing key."""
        return FileKeys(self._settings.folder / "keys" / "journal.key")

    @cached_property
    def safe(self) -> Safe:
        """Under the workspace's key."""
        from loopwright.adapters.notify import KeySafe

        return KeySafe(self.keys)

    @cached_property
    def courier(self) -> Courier:
        """HTTP to public addresses, and to the networks that the settings let through."""
        from loopwright.adapters.notify import HttpCourier
        from loopwright.adapters.notify.addresses import rules_of

        settings = self._settings
        rules = rules_of(
            http=settings.webhook_http, networks=settings.webhook_networks, ports=settings.webhook_ports
        )
        return HttpCourier(rules)

    @cached_property
    def lakes(self) -> Mapping[str, Lake]:
        """By format."""
        return Lakes()

    @cached_property
    def sources(self) -> Sources:
        """By scheme; over HTTP public addresses, and the networks that the settings let through."""
        from loopwright.adapters.notify.addresses import rules_of
        from loopwright.workspace.sources import AnySource

        settings = self._settings
        rules = rules_of(
            http=True, networks=settings.source_networks, ports=settings.source_ports, about="source"
        )
        return AnySource(rules)

    @cached_property
    def ledger(self) -> Ledger:
        """SQLite in the workspace's folder, or PostgreSQL."""
        from loopwright.adapters.sql import open_ledger

        return open_ledger(self._settings.database_url)

    @cached_property
    def objects(self) -> Objects:
        """A folder, or an object store by its URL."""
        if self._settings.objects:
            from loopwright.adapters.objects import FsspecObjects

            options = self._settings.objects_options
            return FsspecObjects(self._settings.objects, options, cache=self._settings.folder / "cache")
        from loopwright.adapters.objects import FolderObjects

        return FolderObjects(self._settings.folder / "objects")

    @cached_property
    def tables(self) -> Tables:
        """Polars, or DuckDB where the setting says so."""
        if self._forgoes_pandas:
            from loopwright.adapters.tables.forgoing import forgo_pandas

            forgo_pandas()
        if self._settings.table_engine == "duckdb":
            from loopwright.adapters.tables.engine_duckdb import DuckDBTables

            return DuckDBTables(self._memory)
        from loopwright.adapters.tables import PolarsTables

        return PolarsTables(self._memory)

    def forgo_pandas(self) -> None:
        """Say that nobody in this process hands objects of pandas over, so that tables begin without it."""
        self._forgoes_pandas = True

    @cached_property
    def scanner(self) -> Scanner:
        """Polars, or DuckDB where the setting says so."""
        return scanner_of(self._settings.scan_engine, self._memory)

    @property
    def _memory(self) -> int | None:
        return parse_size(self._settings.memory) if self._settings.memory else None

    @cached_property
    def queries(self) -> Queries:
        """DuckDB, in a process of its own for each use."""
        from loopwright.adapters.tables.queries import DuckDBQueries

        return DuckDBQueries()

    @cached_property
    def online(self) -> Online:
        """SQLite beside the ledger, or a server that several machines share."""
        if self._settings.online:
            return _online_at(self._settings.online)
        from loopwright.adapters.online import SqliteOnline

        keys = self.keys
        return SqliteOnline(
            self._settings.folder / ONLINE_FILE, mark=lambda packed: keys.sign(b"online\0" + packed)
        )

    @cached_property
    def frameworks(self) -> Mapping[str, Framework]:
        """By flavour."""
        return Frameworks()

    @cached_property
    def packagers(self) -> Mapping[str, Packager]:
        """By flavour."""
        return Packagers()

    @cached_property
    def signer(self) -> Signer:
        """The workspace's pair of keys."""
        return FileSigner(self._settings.folder / "keys" / "packages.key")

    @property
    def trusted(self) -> tuple[str, ...]:
        """As the settings say."""
        return self._settings.trusted_signers

    def tuner(self, spaces: tuple[SearchSpace, ...], *, seed: int) -> Tuner:
        """A seeded study over the spaces."""
        from loopwright.adapters.frameworks.optuna import OptunaTuner

        return OptunaTuner(spaces, seed=seed)

    def close(self) -> None:
        """Let go of what was opened."""
        for name in ("online", "ledger"):
            opened = self.__dict__.get(name)
            if opened is not None:
                opened.close()


def scanner_of(engine: str, memory_bytes: int | None = None) -> Scanner:
    """The engine of checks of that name, without a workspace; unlimited means half of the memory there is."""
    if engine == "polars":
        from loopwright.adapters.tables.scan_polars import PolarsScanner

        return PolarsScanner(memory_bytes)
    if engine == "duckdb":
        from loopwright.adapters.tables.scan_duckdb import DuckDBScanner

        return DuckDBScanner(memory_bytes)
    raise Invalid(f"there is no engine {engine!r} of checks", hint="polars or duckdb")


def slice_modules() -> tuple[ModuleType, ...]:
    """Every module that declares operations, reactors or job handlers."""
    return tuple(import_module(f"loopwright.{name}") for name in _MODULES)


def runtime_of(ctx: Context) -> Runtime:
    """The serving runtime, which brings numpy with it."""
    from loopwright.serving.runtime import Runtime

    return Runtime(ctx)


def upgrade_database(settings: Settings) -> UpgradeReport:
    """Bring the ledger to this version's schema, after a copy, without opening it as a workspace."""
    from loopwright.adapters.sql import upgrade_ledger

    return upgrade_ledger(settings.database_url)
