"""Pages of datasets: contracts as they are written, checks over versions, and values that are text."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from loopwright.core.expressions import col
from loopwright.core.schema import ColumnType
from loopwright.data.allowing import PurposeRule, Purposes
from loopwright.data.appending import append
from loopwright.data.contracts import define_contract
from loopwright.data.nouns import ColumnRule, Contract, Freshness, RowRule, RuleResult, UniqueKey, Volume
from loopwright.data.purposes import set_purposes
from loopwright.engine.publishing import ensure_asset, manifest_of, resolve
from loopwright.surfaces.ui import build_site
from loopwright.surfaces.ui.datasets import checked_over_time, spoken, spread, written
from loopwright.workspace import Workspace
from tests.data.weather import contract, weather
from tests.surfaces.asking import ask

SCRIPT = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    "value",
    [
        contract(),
        contract(freshness=(Freshness(column="known_at", within="3h"),), other_columns="refuse"),
        Contract(name="empty"),
        Contract(
            name="all",
            columns=(ColumnRule(name="n", type=ColumnType.INT, min=0, allowed=(1, 2), mostly=0.5),),
            unique=(UniqueKey(columns=("n",), primary=True),),
            rows=(RowRule(name="positive", expr=col("n") > 0, null_fails=True),),
            volume=Volume(max_rows=7),
        ),
    ],
)
def test_what_is_left_out_of_a_contract_is_so_anyway(value: Contract) -> None:
    text = msgspec.json.encode(written(value))
    assert msgspec.json.decode(text, type=Contract) == value
    assert len(text) < len(msgspec.json.encode(value))


def _result(rule: str, **said: object) -> RuleResult:
    given = {"severity": "quarantine", "held": True, "found": "", **said}
    return RuleResult(rule=rule, **given)  # type: ignore[arg-type]  # a test's own choice of facts


def test_rules_that_came_later_are_blank_before() -> None:
    old, new = _result("a"), (_result("a"), _result("b", held=False))
    lines = checked_over_time([(old,), new, ()])
    assert [(line.rule, line.results) for line in lines] == [
        ("a", (old, new[0], None)),
        ("b", (None, new[1], None)),
    ]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({}, "held"),
        ({"held": False}, "broken"),
        ({"held": False, "failed": 1, "rows": 8}, "12.5 %"),
        ({"failed": 1, "rows": 100_000}, "1 of 100,000"),
        ({"value": 7200.0, "found": "2h old"}, "2h old"),
        ({"value": 1376255.1, "found": "15d22h17m35s136ms85us old"}, "15d22h old"),
        ({"value": 0.0168512, "found": "0.0168512, of 6,335 values"}, "0.0169"),
        ({"value": 0.123456, "found": "0.1235 against the last version"}, "0.123"),
    ],
)
def test_a_result_fits_a_cell(said: dict[str, object], text: str) -> None:
    assert spoken(_result("a", **said)) == text


def test_a_column_is_drawn_as_its_profile_has_it(tmp_path: Path) -> None:
    """Four values alike often are four bars of one height; texts are named with their shares."""
    with Workspace.open(tmp_path) as workspace:
        rows = {"n": [0.0, 1.0, 2.0, 3.0] * 25, "of": ["a"] * 75 + ["b"] * 25}
        append(workspace.context(), "even", pa.table(rows))
        columns = workspace.call("data.profile", name="even")["columns"]
    drawn = re.findall(r"v(-?[0-9.]+)h", spread(columns["n"]).bars)
    assert drawn == ["-22.0"] * 4
    assert spread(columns["of"]).common == (("a", 0.75), ("b", 0.25))
    assert spread({"count": 0}) == ("", ())


def test_every_text_of_a_dataset_is_text(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        ctx, site = workspace.context(), build_site(workspace)
        rule = ColumnRule(name=SCRIPT, type=ColumnType.STRING, allowed=("fine",), description=SCRIPT)
        define_contract(ctx, "odd", Contract(name=SCRIPT, columns=(rule,), volume=Volume(max_quarantined=1)))
        append(ctx, "odd", pa.table({SCRIPT: ["fine", SCRIPT], "n": [1, 2]}), keys=("n",))
        workspace.call("data.describe", name="odd", owner=SCRIPT, description=SCRIPT, tags=["t=" + SCRIPT])
        asked = {"dataset": "odd", "question": SCRIPT, "choices": [SCRIPT, '"><b>'], "keys": ["n"]}
        workspace.call("labels.open", queue="odd", **asked)
        for path in (
            "/assets/dataset/odd",
            "/assets/dataset/odd?rows=first",
            "/contracts/odd",
            "/assets?kind=dataset",
            "/labels/odd",
            "/labels",
        ):
            answer = ask(site, "GET", path)
            assert answer.status == 200, path
            assert SCRIPT not in answer.body.decode()
            assert '"><b>' not in answer.body.decode()


def test_the_page_reads_no_row_until_the_first_ones_are_asked_for(tmp_path: Path) -> None:
    """The objects of the rows are gone: what is shown without them was not read from them."""
    with Workspace.open(tmp_path) as workspace:
        ctx, site = workspace.context(), build_site(workspace)
        append(ctx, "even", pa.table({"n": [0.0, 1.0, 2.0, 3.0] * 25, "of": ["a"] * 75 + ["b"] * 25}))
        assert "Show the first" in ask(site, "GET", "/assets/dataset/even").body.decode()
        for entry in manifest_of(ctx, resolve(ctx, "dataset:even")).entries:
            ctx.ports.objects.remove(entry.digest)
        page = ask(site, "GET", "/assets/dataset/even")
        editor = ask(site, "GET", "/contracts/even")
        asked = ask(site, "GET", "/assets/dataset/even?rows=first")
    assert (page.status, editor.status) == (200, 200)
    assert "histogram of n" in page.body.decode()
    assert asked.status != 200  # so that the objects were needed for the rows, and for them alone


def test_a_version_has_its_own_rows_profile_and_checks(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        ctx, site = workspace.context(), build_site(workspace)
        rule = ColumnRule(name="n", type=ColumnType.INT, max=9)
        define_contract(ctx, "some", Contract(name="some", columns=(rule,), volume=Volume(max_quarantined=1)))
        append(ctx, "some", pa.table({"n": [1, 2, 2, 99], "who": ["ann", "bob", "bob", "eve"]}))
        append(ctx, "some", pa.table({"n": [3] * 5, "who": ["flo"] * 5}))

        def said(path: str) -> str:
            answer = ask(site, "GET", path)
            assert answer.status == 200
            return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.body.decode()))

        first, second = (said(f"/versions/dataset:some@{n}?rows=first") for n in (1, 2))
        assert "1 of 4 rows break it" in first
        assert "no row breaks it" not in first
        assert "bob 66.7 % , ann 33.3 %" in first
        assert "flo" not in first
        assert "flo 62.5 %" in second
        assert "1 of 4 rows" not in second
        assert "Show the first" in said("/versions/dataset:some@1")
        ruled = PurposeRule(column="who", allowed=("support",))
        set_purposes(ctx, "some", Purposes(rules=(ruled,), ask="ann@example.org"))
        kept_back = said("/versions/dataset:some@1?rows=first")
        assert "bob" not in kept_back
        assert "ask ann@example.org" in kept_back
        assert "bob 66.7 %" in said("/versions/dataset:some@1?purpose=support")


def test_a_folder_and_what_has_no_rows_have_pages_too(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/a.txt").write_text("a")
    with Workspace.open(tmp_path / "space") as workspace:
        ctx, site = workspace.context(), build_site(workspace)
        workspace.call("data.add", name="texts", folder=str(tmp_path / "files"))
        append(ctx, "none", weather(1).slice(0, 0))
        ctx.write(lambda tx: ensure_asset(ctx, tx, "dataset", "named"))
        for name in ("texts", "none", "named"):
            assert ask(site, "GET", f"/assets/dataset/{name}").status == 200
        assert ask(site, "GET", "/contracts/absent").status == 404
        assert ask(site, "GET", "/labels/absent").status == 404
        assert ask(site, "GET", "/contracts/none").status == 200


def test_one_column_that_may_not_be_read_hides_itself_alone(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        ctx, site = workspace.context(), build_site(workspace)
        append(ctx, "people", pa.table({"town": ["Arnhem"], "name": ["Willemijn"]}))
        rule = PurposeRule(column="name", restricted=("study",))
        set_purposes(ctx, "people", Purposes(ask="privacy@example.org", rules=(rule,)))
        page = ask(site, "GET", "/assets/dataset/people?rows=first").body.decode()
        rows = workspace.call("data.rows", name="people", columns=["town", "town"]).items
    assert "Arnhem" in page
    assert "Willemijn" not in page
    assert "privacy@example.org" in page
    assert list(rows) == [{"town": "Arnhem"}]


def drift_told(page: str) -> dict[str, str]:
    """By column: the rest of its line in the table of drift."""
    table = page.partition('aria-label="Drift"')[2].partition("</table>")[0]
    return dict(re.findall(r'<tr><th scope="row" class="mono">(.*?)</th>(.*?)</tr>', table))


def test_what_may_be_read_for_a_purpose_alone_asks_for_it_where_versions_are_compared(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        ctx, site = workspace.context(), build_site(workspace)
        for day in range(2):
            append(ctx, "weather", weather(2, start=2 * day), keys=("origin", "observed_at"))
        ctx.write(lambda tx: ensure_asset(ctx, tx, "dataset", "named"))
        rule = PurposeRule(column="humid", allowed=("study",), otherwise="restricted")
        set_purposes(ctx, "weather", Purposes(ask="met@example.org", rules=(rule,)))
        path = "/assets/compare?dataset=weather"
        denied, seen = ask(site, "GET", path), ask(site, "GET", f"{path}&purpose=study")
        page = ask(site, "GET", "/assets/dataset/weather")
        assert ask(site, "GET", "/assets/compare?dataset=named").status == 404
    assert (denied.status, seen.status, page.status) == (200, 200, 200)
    assert "restricted" in denied.body.decode()
    assert 'name="purpose"' in denied.body.decode()
    assert "Rows that differ" not in denied.body.decode()
    assert "Rows that differ" in seen.body.decode()
    drifts = [drift_told(answer.body.decode()) for answer in (denied, seen)]
    assert drifts[0].keys() == drifts[1].keys() > {"humid", "wind_speed"}
    assert {name for name in drifts[1] if drifts[0][name] != drifts[1][name]} == {"humid"}
    assert "met@example.org" in drifts[0]["humid"]
    assert re.search(r"\d\.\d+", drifts[0]["wind_speed"])
    notice = re.search(r'<p class="notice">(.*?)</p>', page.body.decode())
    assert notice is not None
    assert notice[1].count("met@example.org") == 1
