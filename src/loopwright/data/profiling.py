"""Profiles of any file or address, without a workspace; and profiles as they are shown."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import msgspec

from loopwright.core.errors import Invalid, NotFound, Unavailable
from loopwright.core.nouns import Json
from loopwright.data.conforming import conformed
from loopwright.data.ingesting import zoned
from loopwright.data.nesting import Unfolding
from loopwright.data.pairing import correlations
from loopwright.data.portions import over_portions
from loopwright.data.profile_page import profile_page
from loopwright.data.profiles import merged_profile
from loopwright.data.repeats import Repeats
from loopwright.data.sourcing import shown_address
from loopwright.data.uploads import Check, opened_file
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.ports.sources import Origin

if TYPE_CHECKING:
    import pyarrow as pa

    from loopwright.ports.sources import FileSource

__all__ = ["profile_file", "shown_profile"]


@operation("data.profile_file", scope="dataset:read", local=True, command="data profile")
def profile_file(
    ctx: Context,
    file: Annotated[str, msgspec.Meta(description="a file of this machine, or an address: https://, s3://")],
    *,
    html: Annotated[str, msgspec.Meta(description="where to write it as one page")] = "",
    zone: Annotated[str, msgspec.Meta(description="in which zone times without one are")] = "UTC",
) -> Json:
    """Say what the columns of a Parquet, Arrow, CSV or JSON file hold; nothing is kept.

    CSV may be parted by commas, tabs, semicolons or bars; JSON is a list of objects, or one a line.

    With `--html` it is also one page that needs nothing else: it can be mailed, and opened without a network.
    A file of any size is read a portion at a time; of one that is larger than a portion quantiles are told
    with their error, and different and frequent values as lower bounds where they are many. Of lists, maps
    and bytes it is told how long they are; the fields of an object are columns `column.field`.
    """
    unfolding = Unfolding()
    found = _over(ctx, file, lambda portions: _profiled(ctx, portions, zone, unfolding), unfolding.check)
    if html:
        _write(Path(html), profile_page(found, title=_title(file)))
        return {"rows": found["rows"], "columns": len(found["columns"]), "page": html}
    return found


def shown_profile(profile: Json) -> Json:
    """The profile with correlations in the place of the sums they are made of, and without sketches."""
    columns = {
        name: {key: value for key, value in column.items() if key != "sketch"}
        for name, column in profile["columns"].items()
    }
    found = {**{key: value for key, value in profile.items() if key != "pairs"}, "columns": columns}
    pairs = correlations(profile.get("pairs"))
    return found if pairs is None else {**found, "correlations": pairs}


def _profiled(ctx: Context, portions: Iterator[pa.Table], zone: str, unfolding: Unfolding) -> Json:
    """The profile of all portions, with how many rows repeat another where all columns can be compared."""
    found: Json | None = None
    is_whole = True
    with Repeats(ctx) as repeats, closing(_ahead(portions)) as read:
        for portion in read:
            table = conformed(zoned(unfolding.plain(portion), zone), {})
            part = ctx.ports.tables.profile(table, like=found)
            found = part if found is None else merged_profile(found, part)
            whole = unfolding.whole(table, portion)
            if whole is None:
                is_whole = False
            elif is_whole:
                repeats.add(whole)
        shown = unfolding.told(shown_profile({"rows": 0, "columns": {}} if found is None else found))
        return {**shown, "duplicates": repeats.count()} if is_whole else shown


def _ahead(portions: Iterator[pa.Table]) -> Generator[pa.Table]:
    """The portions, each read while the one before it is worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="loopwright-portions") as beside:
        waiting = beside.submit(next, portions, None)
        while (portion := waiting.result()) is not None:
            waiting = beside.submit(next, portions, None)
            yield portion


def _over(ctx: Context, address: str, work: Callable[[Iterator[pa.Table]], Json], check: Check) -> Json:
    if "://" not in address:
        with opened_file(address) as file:
            return over_portions(file, address, work, check=check)
    if ctx.ports.sources.kind(address) != "files":
        raise Invalid(
            "only files are profiled by their address", hint="ingest it, then `loopwright data stats`"
        )
    with closing(cast("FileSource", ctx.ports.sources.open(Origin(address=address)))) as opened:
        seen = opened.seen({})
        if len(seen) != 1:
            raise NotFound(
                f"{len(seen)} files are at {shown_address(address)}", hint="give the address of one"
            )
        (one,) = seen
        with opened.open(one.path) as found:
            named = one.path or address.partition("?")[0]
            return over_portions(found, named, work, media_type=opened.media_type(one.path), check=check)


def _title(address: str) -> str:
    shown = shown_address(address)
    return os.path.basename(shown.partition("?")[0].rstrip("/")) or shown


def _write(path: Path, page: str) -> None:
    """The page is there whole or not at all."""
    draft = ""
    try:
        handle, draft = tempfile.mkstemp(prefix=f".{path.name[:100]}-", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(page)
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be written: {error.strerror}", hint="choose another file"
        ) from error
    finally:
        if draft:
            with suppress(FileNotFoundError):
                Path(draft).unlink()
