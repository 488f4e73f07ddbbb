"""The pages without a browser: what they say of an empty workspace, of bad addresses, and their headers."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import quote

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Denied
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.data.allowing import PurposeRule, Purposes
from loopwright.data.appending import append
from loopwright.data.purposes import set_purposes
from loopwright.data.reading import read
from loopwright.engine.context import Context, Principal
from loopwright.engine.publishing import ensure_asset, prepare, publish
from loopwright.monitoring.nouns import Monitor
from loopwright.registry import registered, versions
from loopwright.registry.naming import IS_PROMPT
from loopwright.registry.nouns import NewVersion
from loopwright.surfaces.ui import build_site, hinting
from loopwright.surfaces.ui.hinting import place_of
from loopwright.surfaces.ui.pages import PAGES
from loopwright.testing import ledger_values as make
from loopwright.workspace import Workspace
from tests.surfaces.asking import Answer, ask


class Site:
    """The pages of a host, asked without a port."""

    def __init__(self, host: object) -> None:
        self._app = build_site(host)

    def get(self, target: str) -> Answer:
        return self.request("GET", target)

    def request(self, method: str, target: str) -> Answer:
        return ask(self._app, method, target)


ALL_PLACES = (*hinting._PLACES.values(), *hinting._OF_ONE.values())
ODD_NAME = 'it\'s a "name" of ours'
ASKS = {"/models/compare", "/assets/compare"}
PLAIN = [page.path for page in PAGES if "{" not in page.path and page.path not in ASKS]
OF_ONE = {
    "/assets/dataset/{name:path}": "/assets/dataset/",
    "/assets/model/{name:path}": "/assets/model/",
    "/assets/feature_view/{name:path}": "/assets/feature_view/",
    "/assets/{kind}/{name:path}": "/assets/experiment/",
    "/contracts/{name:path}": "/contracts/",
    "/explorations/{name:path}": "/explorations/",
    "/labels/{name:path}": "/labels/",
    "/versions/{address:path}": "/versions/",
    "/runs/{run_id}": "/runs/",
    "/experiments/{name:path}": "/experiments/",
    "/traces/{trace:path}": "/traces/",
    "/prompts/{name:path}": "/prompts/",
    "/evaluation/{dataset_id}": "/evaluation/",
    "/webhooks/{webhook_id}": "/webhooks/",
    "/endpoints/{name:path}": "/endpoints/",
    "/monitoring/{name:path}": "/monitoring/",
    "/incidents/{incident_id}": "/incidents/",
    "/decisions/{decision_id}": "/decisions/",
}
ODD = (
    "nothing",
    "model:nothing@1",
    "dataset:a b@champion",
    "model:x@0",
    "model:x#zz",
    "a" * 400,
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "%00",
    "%0d%0aSet-Cookie:x",
    "%ff",
    "%25zz",
    "'; drop table runs; --",
    "<script>alert(1)</script>",
    "☃",
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace.open(tmp_path_factory.mktemp("site") / ".loopwright") as opened:
        yield opened


@pytest.fixture(scope="module")
def site(workspace: Workspace) -> Site:
    return Site(workspace)


@pytest.fixture
def untouched(tmp_path: Path) -> Iterator[Site]:
    """The pages of a workspace that nobody has looked at: to list experiments makes the default one."""
    with Workspace.open(tmp_path / ".loopwright") as opened:
        yield Site(opened)


def headings(text: str) -> list[str]:
    return re.findall(r"<h1[^>]*>(.*?)</h1>", text, re.DOTALL)


def test_every_page_of_one_thing_is_tried() -> None:
    assert set(OF_ONE) == {page.path for page in PAGES} - {*PLAIN, *ASKS}


def test_a_verdict_is_on_the_page_of_its_model_whatever_was_decided_since(workspace: Workspace) -> None:
    ctx = workspace.context(Principal(name="ana"))
    registered.create(ctx, "judged")
    made = versions.create(ctx, "judged", NewVersion(source="s3://bucket/judged"))
    about_it = make.decision("first", 0, subject=str(made.ref), reason="the floor <holds>")
    since = [make.decision(f"d{n:03}", 1 + n, subject="model:other@1") for n in range(250)]
    make.write_each(ctx.ports.ledger, lambda tx, each: tx.decisions.add(each), [about_it, *since])
    page = Site(workspace).get("/assets/model/judged").body.decode()
    registered.delete(ctx, "judged")
    assert "/decisions/first" in page
    assert "/decisions/d249" not in page


def test_models_and_prompts_are_searched_and_do_not_crowd_each_other_out(workspace: Workspace) -> None:
    """More prompts than a page holds stand before the models by name."""
    ctx = workspace.context(Principal(name="ana"))
    for number in range(101):
        registered.create(ctx, f"a prompt {number:03}", tags={IS_PROMPT: "true"})
    registered.create(ctx, "delay <eu>", tags={"team": "ops & co"})
    registered.create(ctx, "fare")
    site = Site(workspace)

    def links(target: str) -> list[str]:
        return re.findall(r'<td class="clip"><a href="([^"]*)"', site.get(target).body.decode())

    assert links("/models") == ["/assets/model/delay%20%3Ceu%3E", "/assets/model/fare"]
    assert links("/models?text=EU+delay") == links("/models?tag=team") == ["/assets/model/delay%20%3Ceu%3E"]
    assert links("/models?text=delay&tag=team%3Dops") == []
    page = site.get("/models?text=d&tag=team%3Dops+%26+co").body.decode()
    assert 'value="team=ops &amp; co"' in page
    assert 'href="/models?tag=team%3Dops%20%26%20co"' in page
    assert len(links("/prompts?text=prompt")) == 100
    (following,) = re.findall(r'rel="next" href="([^"]*)"', site.get("/prompts?text=prompt").body.decode())
    assert links("/prompts" + unescape(following)) == ["/prompts/a%20prompt%20100"]
    assert site.get("/models?text=" + "a+" * 30).status == site.get("/models?token=zzz").status == 400


@pytest.mark.parametrize("path", PLAIN)
def test_an_empty_workspace_has_every_page(untouched: Site, path: str) -> None:
    answer = untouched.get(path)
    assert answer.status == 200
    assert len(headings(answer.body.decode())) == 1
    assert re.search(r"<title>[^<]+ · Loopwright</title>", answer.body.decode())
    assert ('class="empty"' in answer.body.decode()) is (path not in {"/experiments", "/explore", "/traces"})
    assert "None" not in re.sub(r"<[^>]*>", " ", answer.body.decode()).replace("None yet.", "")
    assert answer.body.decode().count('aria-current="page"') == 1


@pytest.mark.parametrize("path", [*PLAIN, "/nowhere", "/runs/nothing", "/static/app.css", "/static/app.js"])
def test_every_answer_says_what_a_page_may_load(site: Site, path: str) -> None:
    headers = site.get(path).headers
    parts = (part.strip().partition(" ") for part in headers["content-security-policy"].split(";"))
    policy = {name: sources for name, _, sources in parts}
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert not re.search(r"unsafe|http|\*", headers["content-security-policy"])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", [*PLAIN, "/nowhere"])
def test_no_page_has_a_script_or_style_of_its_own(site: Site, path: str) -> None:
    text = site.get(path).body.decode()
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL)
    assert all("src=" in given or "application/json" in given for given, _ in scripts)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", text)


def test_where_a_hint_names_a_command_the_page_for_it_is_one_click_away(
    site: Site, workspace: Workspace
) -> None:
    page = site.get("/runs/none").body.decode()
    assert "loopwright runs list" in page
    assert '<a class="chip strong" href="/runs">' in page
    ctx = workspace.context()
    append(ctx, "asked people", pa.table({"email": ["a"], "n": [1]}))
    append(ctx, "asked people", pa.table({"email": ["b"], "n": [2]}))
    rule = PurposeRule(column="email", allowed=("support",))
    set_purposes(ctx, "asked people", Purposes(rules=(rule,), ask="privacy@example.org"))
    with pytest.raises(Denied) as caught:
        read(ctx, "asked people")
    assert place_of(caught.value.hint) == ("/assets/dataset/asked%20people#purposes", "Ask for access")
    told = f"ask for approval: loopwright models request {shlex.quote(ODD_NAME)} --version 2"
    assert place_of(told) == (f"/assets/model/{quote(ODD_NAME)}", "Ask for approval")
    assert place_of("give two numbers") is place_of("start it with `loopwright up`") is None


def test_a_script_is_told_where_a_command_is_done(untouched: Site) -> None:
    told = untouched.get(f"/hints?text={quote('there is no run: loopwright runs list')}")
    assert json.loads(told.body) == {"address": "/runs", "said": "Look at the runs"}
    for text in ("", "give two numbers", "loopwright data show '", "loopwright data show \\"):
        told = untouched.get(f"/hints?text={quote(text)}")
        assert (told.status, json.loads(told.body)) == (200, None)


def test_runs_are_filtered_by_every_kind_that_people_start(site: Site, workspace: Workspace) -> None:
    started = workspace.call("runs.start", name="by hand")
    chips = re.findall(r'href="/runs\?kind=(\w+)"', site.get("/runs").body.decode())
    assert {started.kind, "training", "trial"} < set(chips)
    assert started.id in site.get(f"/runs?kind={started.kind}").body.decode()


def test_a_monitor_without_a_judged_day_says_so_in_the_place_of_a_chart(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / ".loopwright") as opened:
        ctx = opened.context()
        append(ctx, "rows", pa.table({"n": [1, 2]}))
        watched = Monitor(endpoint="delays", labels="late", reference="dataset:rows@1")
        bins = ManifestEntry(path="bins.json", digest=ctx.ports.objects.put(b"[]"), size_bytes=2)
        body = msgspec.to_builtins(watched)
        draft = prepare(ctx, "delays", Manifest(kind="monitor", entries=(bins,), body=body))
        ctx.write(lambda tx: publish(ctx, tx, draft))

        def told(name: str, **facts: object) -> str:
            signal = make.signal(ctx.new_id(), name=name, value=9.0, facts=facts)
            ctx.write(lambda tx: tx.signals.add([signal]))
            return Site(opened).get("/monitoring/delays").body.decode()

        before, after = told("predictions"), told("drift.n", drifted=True, p_value=0.001)
    assert ("No day of this stretch is judged" in before, 'data-chart="heat"' in before) == (True, False)
    assert ("No day of this stretch is judged" in after, 'data-chart="heat"' in after) == (False, True)


@pytest.mark.parametrize("path", sorted({path for path, _ in ALL_PLACES}))
def test_every_place_of_a_hint_is_a_page(untouched: Site, path: str) -> None:
    assert untouched.get(path.format("none")).status in (200, 404)
    assert path.partition("?")[0].partition("{")[0] in {*PLAIN, *OF_ONE.values()}


@pytest.mark.parametrize("start", OF_ONE.values())
@pytest.mark.parametrize("name", ODD)
def test_what_is_not_there_is_told(site: Site, start: str, name: str) -> None:
    answer = site.get(f"{start}{name if '%' in name else quote(name, safe='')}")
    assert answer.status in (400, 404, 422), answer.body.decode()
    assert len(headings(answer.body.decode())) == 1
    assert "<script>alert" not in answer.body.decode()
    assert "Traceback" not in answer.body.decode()


@pytest.mark.parametrize("path", ["/runs", "/assets", "/decisions", "/incidents", "/journal"])
@pytest.mark.parametrize("token", ["rubbish", "'", "%00", "9" * 400])
def test_a_bad_token_is_told(site: Site, path: str, token: str) -> None:
    assert site.get(f"{path}?token={token}").status in (400, 404, 422)


@given(st.sampled_from([*PLAIN, *OF_ONE.values()]), st.text(max_size=60), st.text(max_size=20))
def test_nothing_in_an_address_breaks_a_page(site: Site, start: str, name: str, kind: str) -> None:
    path = start if start in PLAIN else start + quote(name, safe="")
    asked = f"{path}?kind={quote(kind, safe='')}&action={quote(name, safe='')}&subject={quote(kind, safe='')}"
    assert site.get(asked).status < 500


@pytest.mark.parametrize(
    "path", ["/nowhere", "/runs/a/b", "/static/", "/static/../site.py", "/static/%2e%2e/site.py"]
)
def test_an_unknown_page_is_told(site: Site, path: str) -> None:
    answer = site.get(path)
    assert answer.status == 404
    assert "_POLICY" not in answer.body.decode()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_pages_are_only_read(site: Site, method: str) -> None:
    assert site.request(method, "/runs").status == 405


def named(ctx: Context, kind: str, name: str) -> None:
    ctx.write(lambda tx: ensure_asset(ctx, tx, kind, name, description=name))


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "<!--<script>", "a?b&c", '"><img src=x>', "{{7777*7777}}"]
)
def test_a_name_is_only_ever_text(tmp_path: Path, name: str) -> None:
    with Workspace.open(tmp_path / ".loopwright") as workspace:
        for kind in ("dataset", "model", "endpoint"):
            named(workspace.context(), kind, name)
        site = Site(workspace)
        encoded = quote(name, safe="")
        shown = [site.get(path) for path in ("/", "/assets", "/journal", f"/assets/dataset/{encoded}")]
        linked = re.findall(r'href="(/assets/[a-z_]+/[^"]*)"', shown[2].body.decode())
        assert linked
        assert {site.get(link.replace("&amp;", "&")).status for link in linked} == {200}
    assert [answer.status for answer in shown] == [200] * 4
    for answer in shown:
        assert not re.search(r"<script>|<img|<!--|60481729", answer.body.decode())
    assert headings(shown[3].body.decode())[0].count("&lt;") == name.count("<")


def test_a_principal_without_the_right_is_refused(workspace: Workspace) -> None:
    class Stranger:
        operations = workspace.operations

        def context(self, principal: Principal | None = None) -> Context:
            return workspace.context(Principal(name="stranger", scopes=frozenset({"asset:read"})))

    site = Site(Stranger())
    assert site.get("/assets").status == 200
    refused = site.get("/journal")
    assert refused.status == 403
    assert len(headings(refused.body.decode())) == 1
