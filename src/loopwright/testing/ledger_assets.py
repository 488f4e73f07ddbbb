"""The conformance suite of assets, their versions and their aliases."""

from __future__ import annotations

from functools import partial
from itertools import product

import msgspec
import pytest
from msgspec.structs import replace

from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Asset, LinkRole, Version
from loopwright.core.queries import Comparison, Field, Operator
from loopwright.ports.ledger import (
    Ledger,
    LineKey,
    LinesAsked,
    OrderedAsked,
    PageRequest,
    Transaction,
)
from loopwright.testing import ledger_values as make
from loopwright.testing.ledger_unit import source_holds, told_of
from loopwright.testing.ledger_values import walk, write_each

__all__ = ["AssetSuite"]


def _of_name(op: Operator, text: str) -> Comparison:
    return Comparison(Field("attribute", "name"), op, text)


def _of_source(op: Operator, text: str) -> Comparison:
    return Comparison(Field("attribute", "source_path"), op, text)


def _of_tag(key: str, op: Operator, text: str) -> Comparison:
    return Comparison(Field("tag", key), op, text)


def _of_version(key: LineKey, version: Version) -> int | str:
    match key.kind:
        case "made":
            return to_micros(version.created_at) // 1000
        case "changed":
            return to_micros(version.updated_at or version.created_at) // 1000
    return version.name if key.kind == "name" else version.number


class AssetSuite:
    """What the repositories of assets must do. Subclass it (or `LedgerSuite`) with a fixture `ledger`."""

    # --------------------------------------------------------------------------------------- assets

    def test_an_asset_is_found_by_id_and_name(self, ledger: Ledger) -> None:
        """All fields come back as they were."""
        known = make.asset(tags={"b": "2", "a": "1"}, description="täglich\n☂")
        ledger.write(lambda tx: tx.assets.add(known))
        with ledger.read() as tx:
            assert tx.assets.get("a1") == known
            assert tx.assets.find("default", "dataset", "a1") == known
            assert tx.assets.find("default", "model", "a1") is None
            assert tx.assets.find("other", "dataset", "a1") is None
            with pytest.raises(NotFound):
                tx.assets.get("a2")

    def test_a_name_is_unique_in_its_space_and_kind(self, ledger: Ledger) -> None:
        """The same name is free in another space or kind."""

        def others(tx: Transaction) -> None:
            tx.assets.add(make.asset("a1", name="x"))
            tx.assets.add(make.asset("a2", name="x", kind="model"))
            tx.assets.add(make.asset("a3", name="x", space="other"))

        ledger.write(others)
        with pytest.raises(Conflict):
            ledger.write(lambda tx: tx.assets.add(make.asset("a4", name="x")))

    def test_a_renamed_asset_takes_its_versions_and_edges_along(self, ledger: Ledger) -> None:
        """And its old name may be used again."""
        old = make.asset("a1", name="old")

        def work(tx: Transaction) -> None:
            tx.assets.add(old)
            tx.versions.add(make.version(old, 1))
            tx.runs.add(make.run())
            tx.runs.link(make.link("r1", LinkRole.INPUT, "old", 1))
            tx.assets.update(replace(old, name="new", tags={"k": "v"}, created_by="mallory"))
            tx.assets.add(make.asset("a2", name="old"))

        ledger.write(work)
        with ledger.read() as tx:
            assert tx.assets.get("a1") == replace(old, name="new", tags={"k": "v"})
            found = tx.versions.get("a1", 1)
            assert found is not None
            assert found.name == "new"
            assert [edge.version.name for edge in tx.runs.links("r1")] == ["new"]
            assert tx.runs.users("dataset", "new", 1, LinkRole.INPUT) == ("r1",)

    def test_renaming_to_a_taken_name_is_refused(self, ledger: Ledger) -> None:
        """And an unknown asset is not found."""
        write_each(ledger, lambda tx, name: tx.assets.add(make.asset(name)), ("a1", "a2"))
        with pytest.raises(Conflict):
            ledger.write(lambda tx: tx.assets.update(make.asset("a1", name="a2")))
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.assets.update(make.asset("a9")))

    @pytest.mark.parametrize("limit", [1, 3, 10, 100])
    def test_pages_of_assets_have_no_gap_and_no_double(self, ledger: Ledger, limit: int) -> None:
        """Ordered by kind and name, by the bytes of the text."""
        names = ["b", "B", "a", "Z", "é", "z", "_", "aa", "a b", "10", "9"]
        items = [make.asset(f"{kind}-{n}", kind=kind, name=n) for kind in ("model", "dataset") for n in names]
        write_each(ledger, lambda tx, item: tx.assets.add(item), items)
        ledger.write(lambda tx: tx.assets.add(make.asset("elsewhere", space="other")))
        with ledger.read() as tx:
            found = walk(lambda request: tx.assets.page("default", None, request), limit=limit)
            assert found == sorted(items, key=lambda a: (a.kind, a.name.encode()))
            models = walk(lambda request: tx.assets.page("default", "model", request), limit=limit)
            assert models == [a for a in found if a.kind == "model"]

    def test_a_foreign_token_and_a_bad_limit_are_refused(self, ledger: Ledger) -> None:
        """With `Invalid`, whatever is in it."""
        write_each(ledger, lambda tx, name: tx.assets.add(make.asset(name)), ("a1", "a2"))
        with ledger.read() as tx:
            for token in ("x", "%%%", "W10", "é", "bnVsbA", "WzFd", "WzEsMl0"):
                with pytest.raises(Invalid):
                    tx.assets.page("default", None, PageRequest(token=token))
            with pytest.raises(Invalid):
                tx.assets.page("default", None, PageRequest(limit=0))

    # ------------------------------------------------------------------------------------- versions

    def test_versions_are_found_by_number_instant_and_digest(self, ledger: Ledger) -> None:
        """The newest is the greatest number; facts keep their types."""
        asset = make.asset()
        facts = {"rows": 3, "share": 0.25, "tags": ["x", None, True], "deep": {"é": "☂"}}
        versions = [make.version(asset, n, facts=facts, parent=n - 1 or None) for n in (1, 2, 3)]
        ledger.write(lambda tx: tx.assets.add(asset))
        write_each(ledger, lambda tx, v: tx.versions.add(v), versions)
        with ledger.read() as tx:
            assert tx.versions.get("a1", 2) == versions[1]
            assert tx.versions.get("a1", 4) is None
            assert tx.versions.latest("a1") == versions[2]
            assert tx.versions.latest("a1", at=make.at(2)) == versions[1]
            assert tx.versions.latest("a1", at=make.at(1.999999)) == versions[0]
            assert tx.versions.latest("a1", at=make.at(0)) is None
            assert tx.versions.latest("a2") is None
            assert tx.versions.by_digest("a1", versions[0].digest) == (versions[0],)
            assert tx.versions.by_digest("a1", "0" * 10) == (versions[2], versions[1])
            assert tx.versions.by_digest("a1", "f") == ()
            assert set(tx.versions.digests()) == {v.digest for v in versions}

    def test_a_version_never_changes_but_for_tags_and_description(self, ledger: Ledger) -> None:
        """A taken number and an unknown asset are refused."""
        asset = make.asset()
        first = make.version(asset, 1)
        ledger.write(lambda tx: tx.assets.add(asset))
        ledger.write(lambda tx: tx.versions.add(first))
        with pytest.raises(Conflict):
            ledger.write(lambda tx: tx.versions.add(make.version(asset, 1, id="other")))
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.versions.add(make.version(make.asset("a9"), 1)))
        changed = replace(first, tags={"a": "b"}, description="d", digest="f" * 64, size_bytes=7)
        ledger.write(lambda tx: tx.versions.update(changed))
        with ledger.read() as tx:
            assert tx.versions.get("a1", 1) == replace(first, tags={"a": "b"}, description="d")
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.versions.update(make.version(asset, 5)))

    def test_erasure_alone_lets_a_version_mean_other_content(self, ledger: Ledger) -> None:
        """Its digest, size and facts; who it is, when and by whom it was made stays."""
        asset = make.asset()
        first = make.version(asset, 1)
        ledger.write(lambda tx: tx.assets.add(asset))
        ledger.write(lambda tx: tx.versions.add(first))
        other = {"digest": "e" * 64, "size_bytes": 7, "facts": {"rows": 2}}
        ledger.write(lambda tx: tx.versions.supersede(replace(first, **other, description="no", number=4)))
        with ledger.read() as tx:
            assert tx.versions.get("a1", 1) == replace(first, **other)
            assert set(tx.versions.digests()) == {"e" * 64}
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.versions.supersede(make.version(asset, 5)))

    def test_versions_of_a_kind_a_name_a_run(self, ledger: Ledger) -> None:
        """Lines leave out what is in the trash, and say when a version changed, or else when it was made."""
        asset, other = make.asset(), make.asset("a2", name="other")
        versions = [make.version(asset, 1, run_id="r1"), make.version(asset, 2), make.version(other, 1)]
        write_each(ledger, lambda tx, each: tx.assets.add(each), (asset, other))
        write_each(ledger, lambda tx, v: tx.versions.add(v), versions)
        ledger.write(lambda tx: tx.versions.update(replace(versions[0], updated_at=make.at(9))))
        ledger.write(lambda tx: tx.versions.update(replace(versions[2], deleted_at=make.at(9))))
        kind, name = asset.kind, asset.name
        with ledger.read() as tx:
            assert {v.id for v in tx.versions.among("default", kind)} == {v.id for v in versions}
            assert {v.number for v in tx.versions.among("default", kind, name=name)} == {1, 2}
            assert [v.id for v in tx.versions.among("default", kind, run_id="r1")] == [versions[0].id]
            assert list(tx.versions.among("default", kind, name="other", run_id="r1")) == []
            assert list(tx.versions.among("elsewhere", kind)) == []
            found = tx.versions.ordered_lines("default", kind, LinesAsked(limit=9))
            lines = {line.id: line for line in found}
            assert lines.keys() == {versions[0].id, versions[1].id}
            of_both = LinesAsked(limit=9, name=name, run_id="r1")
            assert [x.id for x in tx.versions.ordered_lines("default", kind, of_both)] == [versions[0].id]
            line = lines[versions[0].id]
            assert (line.name, line.number, line.run_id) == (name, 1, "r1")
            assert line.changed_us == to_micros(make.at(9))
            assert lines[versions[1].id].changed_us == lines[versions[1].id].created_us
            assert msgspec.json.decode(line.tags_json) == versions[0].tags
            assert msgspec.json.decode(line.facts_json) == versions[0].facts

    @pytest.mark.parametrize("by_change", [False, True])
    def test_assets_come_by_name_or_by_change(self, ledger: Ledger, by_change: bool) -> None:
        """In both directions, piece by piece, of a tag; without what is in the trash."""
        names = ["b", "B", "ba", "é", "z", "Z", "a~", "ab", "☂"]
        assets = [
            make.asset(f"a{n}", name=name, created_at=make.at(n // 3), tags={"t": str(n % 2)})
            for n, name in enumerate(names)
        ]
        write_each(ledger, lambda tx, each: tx.assets.add(each), assets)
        ledger.write(lambda tx: tx.assets.add(make.asset("b", name="b", kind="other")))
        assets[1] = replace(assets[1], updated_at=make.at(2))
        gone = replace(assets[4], deleted_at=make.at(9))
        write_each(ledger, lambda tx, each: tx.assets.update(each), [assets[1], gone])
        there = [asset for n, asset in enumerate(assets) if n != 4]

        def changed(asset: Asset) -> int:
            return to_micros(asset.updated_at or asset.created_at) // 1000

        told = ((), (_of_name("LIKE", "%a%"),), (_of_name("ILIKE", "b%"), _of_tag("t", "!=", "0")))
        for descending, names_descending, tags, told_so in product(
            (False, True), (False, True), ({}, {"t": "1"}), told
        ):
            asked = OrderedAsked(
                limit=2,
                told=told_so,
                by_change=by_change,
                descending=descending,
                names_descending=names_descending,
                tags=tags,
            )
            wanted = sorted(there, key=lambda asset: asset.name, reverse=names_descending)
            if by_change:
                wanted.sort(key=changed, reverse=descending)
            wanted = [asset for asset in wanted if tags.items() <= asset.tags.items()]
            wanted = [it for it in wanted if all(told_of(it.name, it.tags, each) for each in told_so)]
            found = list[Asset]()
            with ledger.read() as tx:
                while piece := tx.assets.ordered("default", assets[0].kind, asked):
                    found += piece
                    asked = replace(asked, after=(changed(piece[-1]), piece[-1].name))
            assert found == wanted

    def test_versions_come_by_their_last_change_piece_by_piece(self, ledger: Ledger) -> None:
        """By milliseconds, then by name and number; of a name, a run, a tag; without what is in the trash."""
        assets = [make.asset(), make.asset("a2", name='na"me')]
        versions = [
            make.version(
                asset,
                n,
                run_id=f"r{n % 2}",
                tags={"k": '"q"%'} if n % 3 else {"k2": "k"},
                facts={"source": f's3://b"é/{n}'} if n % 4 else {},
            )
            for asset in assets
            for n in range(1, 8)
        ]
        write_each(ledger, lambda tx, each: tx.assets.add(each), assets)
        write_each(ledger, lambda tx, v: tx.versions.add(v), versions)
        changed = [replace(v, updated_at=make.at(9 + v.number % 2)) for v in versions if v.number < 5]
        changed.append(replace(versions[6], deleted_at=make.at(9)))
        write_each(ledger, lambda tx, v: tx.versions.update(v), changed)
        for asked in (
            LinesAsked(limit=3),
            LinesAsked(limit=2, name='na"me'),
            LinesAsked(limit=2, run_id="r1"),
            LinesAsked(limit=1, run_id="r0", name='na"me', tags={"k": '"q"%'}),
            LinesAsked(limit=1, tags={"k": "q"}),
            LinesAsked(limit=2, told=(_of_name("LIKE", '%"%'), _of_tag("k", "LIKE", '%"%'))),
            LinesAsked(limit=1, sources=(_of_source("=", 's3://b"é/3'),)),
            LinesAsked(limit=2, sources=(_of_source("ILIKE", '%B"É%'), _of_source("!=", 's3://b"é/1'))),
            LinesAsked(limit=2, order=(LineKey("name", descending=True), LineKey("number"))),
            LinesAsked(limit=2, order=(LineKey("made"), LineKey("name"), LineKey("number"))),
        ):
            with ledger.read() as tx:
                among = tx.versions.among("default", assets[0].kind, name=asked.name, run_id=asked.run_id)
                wanted = [v for v in among if v.deleted_at is None and asked.tags.items() <= v.tags.items()]
                wanted = [v for v in wanted if all(told_of(v.name, v.tags, each) for each in asked.told)]
                wanted = [v for v in wanted if all(source_holds(v.facts, each) for each in asked.sources)]
                for key in reversed(asked.order):
                    wanted.sort(key=partial(_of_version, key), reverse=key.descending)
                found: list[str] = []
                while piece := tx.versions.ordered_lines("default", assets[0].kind, asked):
                    assert len(piece) <= asked.limit
                    found += [line.id for line in piece]
                    last = next(v for v in wanted if v.id == found[-1])
                    asked = replace(asked, after=tuple(_of_version(key, last) for key in asked.order))
                assert found == [v.id for v in wanted], asked

    def test_versions_by_id_come_in_the_order_asked(self, ledger: Ledger) -> None:
        """Also more of them than one question takes."""
        asset = make.asset()
        versions = [make.version(asset, number) for number in range(1, 140)]
        ledger.write(lambda tx: tx.assets.add(asset))
        write_each(ledger, lambda tx, v: tx.versions.add(v), versions)
        wanted = [versions[at] for at in (5, 0, 138, *range(10, 120))]
        with ledger.read() as tx:
            assert list(tx.versions.those([v.id for v in wanted])) == wanted
            assert list(tx.versions.those([])) == []
            with pytest.raises(NotFound):
                tx.versions.those([versions[0].id, "nobody"])

    def test_pages_of_versions_are_newest_first(self, ledger: Ledger) -> None:
        """By number, also past ten."""
        asset = make.asset()
        ledger.write(lambda tx: tx.assets.add(asset))
        write_each(ledger, lambda tx, n: tx.versions.add(make.version(asset, n)), range(1, 24))
        with ledger.read() as tx:
            found = walk(lambda request: tx.versions.page("a1", request), limit=5)
        assert [v.number for v in found] == list(range(23, 0, -1))

    def test_an_alias_points_moves_and_goes(self, ledger: Ledger) -> None:
        """Only to versions that are there."""
        asset = make.asset()
        ledger.write(lambda tx: tx.assets.add(asset))
        write_each(ledger, lambda tx, n: tx.versions.add(make.version(asset, n)), (1, 2))
        write_each(ledger, lambda tx, n: tx.aliases.put(make.alias(asset, n, 1)), ("staging", "champion"))
        ledger.write(lambda tx: tx.aliases.put(make.alias(asset, "champion", 2)))
        with ledger.read() as tx:
            assert tx.aliases.get("a1", "champion") == make.alias(asset, "champion", 2)
            assert [a.alias for a in tx.aliases.of("a1")] == ["champion", "staging"]
        write_each(ledger, lambda tx, n: tx.aliases.remove("a1", n), ("champion", "none"))
        with ledger.read() as tx:
            assert tx.aliases.get("a1", "champion") is None
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.aliases.put(make.alias(asset, "champion", 3)))
