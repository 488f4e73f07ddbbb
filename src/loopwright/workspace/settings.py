"""One typed struct of settings: argument, then `LOOPWRIGHT_*`, then `loopwright.toml`, then the default."""

from __future__ import annotations

import getpass
import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from loopwright.core.errors import Denied, Invalid

__all__ = ["FOLDER", "LEDGER_FILE", "Settings", "find_workspace", "load_settings"]

FOLDER = ".loopwright"
LEDGER_FILE = "ledger.db"
_FILE = "loopwright.toml"
_LARGEST, _LONGEST = 1_000_000, 10_000
"""bytes of the file and of a line of it: a name of many parts takes a time that is quadratic in them"""
_PREFIX = "LOOPWRIGHT_"
_LISTS = frozenset(
    {"allowed_hosts", "feature_modules", "trusted_signers", "webhook_networks", "webhook_ports"}
)
_LISTS |= {"source_networks", "source_ports"}


class Secret(str):
    """A text that is never shown."""

    def __repr__(self) -> str:
        return "Secret(...)"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set. Each field is `LOOPWRIGHT_<FIELD>` in the environment."""

    workspace: str
    """folder of the workspace (`.loopwright`)"""
    database: str = ""
    """URL of the ledger: empty for the workspace's SQLite file, else `postgresql://...`"""
    objects: str = ""
    """URL of the object store: empty for the workspace's folder, else `s3://bucket/prefix`"""
    objects_options: dict[str, Any] = {}
    """options of the object store's driver (endpoint, key, secret); only from the file, never shown"""
    online: str = ""
    """URL of online features: empty for the workspace's SQLite file, else `redis://...`, `postgresql://...`"""
    space: str = "default"
    """the space (project) that is worked in"""
    user: str = ""
    """name written to the journal; empty for the login name"""
    host: str = "127.0.0.1"
    """address the server listens on"""
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 7070
    """port the server listens on; 0 takes a free one"""
    token: str = ""
    """bearer token the server asks for and the client sends; empty: none, on this machine alone"""
    url: str = ""
    """address of a server; when set, commands go there instead of the local workspace"""
    scan_engine: Literal["polars", "duckdb"] = "polars"
    """what holds rows against contracts; `duckdb` needs `pip install "loopwright[duckdb]"`"""
    table_engine: Literal["polars", "duckdb"] = "polars"
    """what joins, windows and computes features offline, with the same answers: `duckdb` spills to disk what
    does not fit into memory, and needs `pip install "loopwright[duckdb]"`"""
    memory: str = ""
    """anonymous memory that a join of files, a check of rows or the sources of a training set may take, such
    as `4GB`; empty: half of the machine's. What does not fit waits in files that go at the end, with the same
    answers"""
    allowed_hosts: tuple[str, ...] = ()
    """further host names the server answers to (behind a proxy)"""
    trusted_signers: tuple[str, ...] = ()
    """whose packages of models may run code when they are loaded here, beside this workspace's own: public
    keys (`ed25519:...`), digests of single packages (`blake3:...`), names of types (`type:module.Class`)"""
    feature_modules: tuple[str, ...] = ()
    """modules installed here (`delays.features`) whose feature functions this process computes, imported when
    one is first asked for; no request and nothing that is stored can name one"""
    max_body_mb: int = 16
    """greatest request body in megabytes, uploads apart"""
    max_upload_mb: int = 4096
    """greatest upload in megabytes"""
    webhook_http: bool = False
    """whether webhooks may be posted over plain HTTP"""
    webhook_networks: tuple[str, ...] = ()
    """networks inside that webhooks may be posted to (`10.1.0.0/16`); without any, public addresses alone"""
    webhook_ports: tuple[int, ...] = ()
    """ports of public addresses that webhooks may be posted to; without any 80, 443 and 8443"""
    source_networks: tuple[str, ...] = ()
    """networks inside that sources of datasets may be fetched from over HTTP (`10.1.0.0/16`); without any,
    public addresses alone"""
    source_ports: tuple[int, ...] = ()
    """ports of public addresses that sources may be fetched from; without any 80, 443 and 8443"""
    trash_days: Annotated[int, msgspec.Meta(ge=0, le=36_500)] = 30
    """days that what was deleted lies in the trash before it is collected; an experiment may say otherwise"""

    def __repr__(self) -> str:
        hidden = {"token", "objects_options", "database", "online"}
        shown = ", ".join(f"{k}={getattr(self, k)!r}" for k in self.__struct_fields__ if k not in hidden)
        return f"Settings({shown}, ...)"

    @property
    def folder(self) -> Path:
        """The workspace's folder."""
        return Path(self.workspace)

    @property
    def database_url(self) -> str:
        """The ledger's URL with its default."""
        return self.database or f"sqlite:///{self.folder / LEDGER_FILE}"

    @property
    def principal(self) -> str:
        """The name written to the journal."""
        return self.user or _login()


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "local"


def find_workspace(start: Path) -> Path:
    """The nearest `.loopwright` upwards, else the one that would be made in `start`.

    `Denied` for one that a stranger put there: whoever works in it trusts its keys.
    """
    for folder in (start, *start.parents):
        if (folder / FOLDER).is_dir():
            _check_owner(folder / FOLDER, start, "name it by --workspace DIR if it is the one you mean")
            return folder / FOLDER
    return start / FOLDER


def _check_owner(found: Path, start: Path, hint: str) -> None:
    """What is found without being named is of this user, of root, or of the owner of the folder one is in."""
    with suppress(FileNotFoundError):
        if found.stat().st_uid not in {os.geteuid(), 0, start.stat().st_uid}:
            raise Denied(f"{found} belongs to another user", hint=hint)


def _from_file(start: Path) -> dict[str, Any]:
    for folder in (start, *start.parents):
        file = folder / _FILE
        if file.is_file():
            _check_owner(file, start, "it would say where your token goes: take it away, or make it yours")
            return _read(file)
    return {}


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
        if len(data) > _LARGEST or max(map(len, data.split(b"\n"))) > _LONGEST:
            raise Invalid(
                f"{file} has more than {_LARGEST:,} bytes, or {_LONGEST:,} in a line",
                hint="no settings are that long",
            )
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise Invalid(f"{file} cannot be read: {error}", hint="mend the file or remove it") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """What is set; a variable that is empty counts as not set."""
    found: dict[str, Any] = {}
    for field in Settings.__struct_fields__:
        value = environment.get(_PREFIX + field.upper())
        if not value or field == "objects_options":
            continue
        found[field] = tuple(value.split(",")) if field in _LISTS else value
    return found


def load_settings(
    given: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """The settings in force; `given` are arguments (None values count as not given)."""
    start = (folder or Path.cwd()).absolute()
    arguments = {key: value for key, value in (given or {}).items() if value is not None}
    merged = {
        **_from_file(start),
        **_from_environment(os.environ if environment is None else environment),
        **arguments,
    }
    if "workspace" not in merged:
        merged["workspace"] = str(find_workspace(start))
    if not merged["workspace"] or "\0" in str(merged["workspace"]):
        raise Invalid("the workspace has no folder's name", hint="give --workspace DIR, or leave it out")
    merged["workspace"] = str(Path(str(merged["workspace"])).absolute())
    try:
        return msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as error:
        fields = ", ".join(Settings.__struct_fields__)
        raise Invalid(f"a setting is wrong: {error}", hint=f"the settings are {fields}") from error
