"""Assessments as clients of MLflow 3 log, change, override and delete them, and traces found by them."""

from __future__ import annotations

from typing import Any

from tests.protocols.mlflow.script.traces import V3, export, span, start, trace_id, within
from tests.protocols.mlflow.talking import Talk

__all__ = ["assessments", "traces_search"]

HUMAN = {"source_type": "HUMAN", "source_id": "ann"}
TIMES = {"create_time": "2023-11-14T22:13:20Z", "last_update_time": "2023-11-14T22:13:20.250Z"}


def _log(talk: Talk, says: str, number: int, name: str, **more: Any) -> Any:
    body = {"assessment_name": name, "source": HUMAN, **TIMES, **more}
    made = talk.post(f"{V3}/{trace_id(number)}/assessments", says, {"assessment": body})
    return made.get("assessment", {}).get("assessment_id", "none") if isinstance(made, dict) else "none"


def assessments(talk: Talk) -> None:
    home = talk.experiment("assessed")
    start(talk, "a trace", home, 0x41)
    at = f"{V3}/{trace_id(0x41)}/assessments"
    one = _log(talk, "a number", 0x41, "score", feedback={"value": 0.8}, rationale="good", span_id="a1")
    _log(talk, "yes or no", 0x41, "right", feedback={"value": True}, metadata={"k": "v"})
    _log(talk, "a whole number", 0x41, "stars", feedback={"value": 4})
    _log(talk, "a text", 0x41, "words", feedback={"value": "yes"})
    _log(talk, "a list and a map", 0x41, "deep", feedback={"value": {"a": [1, "b", None]}})
    error = {"error_code": "RATE", "error_message": "too many", "stack_trace": "at x"}
    _log(talk, "an error", 0x41, "failed", feedback={"value": None, "error": error})
    kept = _log(talk, "what was expected", 0x41, "answer", expectation={"value": "because"})
    deep = {"value": '{"a": [1]}', "serialization_format": "JSON_FORMAT"}
    _log(talk, "expected as JSON", 0x41, "facts", expectation={"serialized_value": deep})
    judge = {"source_type": "LLM_JUDGE", "source_id": "gpt"}
    _log(talk, "a judge's", 0x41, "judged", feedback={"value": "no"}, source=judge)
    talk.get(f"{at}/{one}", "read")
    talk.get(f"{at}/a-none", "not there")
    talk.get(f"{V3}/{trace_id(0x49)}/assessments/{one}", "of no trace")
    _log(talk, "of a trace that is not there", 0x49, "score", feedback={"value": 1})
    _log(talk, "neither", 0x41, "nothing")
    _changed(talk, at, one, kept)
    over = _log(talk, "one that overrides", 0x41, "score", feedback={"value": 0.1}, overrides=one)
    talk.get(f"{at}/{one}", "overridden")
    talk.delete(f"{at}/{over}", "the override goes")
    talk.get(f"{at}/{one}", "valid again")
    _log(talk, "overrides none", 0x41, "score", feedback={"value": 0.1}, overrides="a-none")
    talk.delete(f"{at}/{one}", "deleted")
    talk.delete(f"{at}/{one}", "deleted again")
    talk.delete(f"{V3}/{trace_id(0x49)}/assessments/{one}", "deleted of no trace")


def _changed(talk: Talk, at: str, one: str, kept: str) -> None:
    def change(says: str, which: str, mask: str, **more: Any) -> None:
        body = {"assessment_id": which, **more}
        talk.patch(f"{at}/{which}", says, {"assessment": body, "update_mask": mask})

    change("value and rationale", one, "feedback,rationale", feedback={"value": 0.9}, rationale="better")
    change("metadata", one, "metadata", metadata={"m": "n"})
    change("its name", one, "assessmentName", assessment_name="grade")
    change("of the other kind", one, "expectation", expectation={"value": 1})
    change("the expected", kept, "expectation", expectation={"value": "otherwise"})
    change("of none", "a-none", "rationale", rationale="x")
    talk.patch(f"{at}/{one}", "nothing", {})


def traces_search(talk: Talk) -> None:
    home, other = talk.experiment("found"), talk.experiment("found elsewhere")
    run = talk.run(home, "of traces")
    for number in range(0x51, 0x59):
        start(
            talk,
            f"trace {number}",
            home if number != 0x58 else other,
            number,
            state=("OK", "ERROR", "IN_PROGRESS")[number % 3],
            execution_duration=None if number == 0x53 else f"0.{number:03d}s",
            client_request_id=f"client-{number % 2}",
            tags={
                "mlflow.traceName": f"name {'abc'[number % 3]}",
                **({"team": "blue"} if number % 2 else {}),
            },
            trace_metadata={"mlflow.sourceRun": run, "odd": str(number % 2)} if number < 0x54 else {},
        )
    chat = {"mlflow.spanType": "CHAT_MODEL", "model": "gpt-x", "mlflow.spanInputs": {"q": "tell of Rome"}}
    one = [
        span(0x51, 1, **within(0x51)),
        span(0x51, 2, 1, name="ask", attributes=chat, **within(0x51)),
    ]
    export(talk, "spans of one", home, one)
    export(talk, "spans of another", home, [span(0x52, 3, name="ask", status={"code": 2}, **within(0x52))])
    _log(talk, "feedback", 0x51, "score", feedback={"value": 0.8})
    _log(talk, "less", 0x52, "score", feedback={"value": 0.2})
    _log(talk, "a word", 0x53, "tone", feedback={"value": "kind"})
    _log(talk, "yes", 0x54, "right", feedback={"value": True})
    _log(talk, "expected", 0x55, "answer", expectation={"value": "Rome"})

    def ask(
        says: str,
        text: str = "",
        *order: str,
        places: tuple[str, ...] = (home,),
        free: str = "",
        **more: Any,
    ) -> Any:
        locations = [
            {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": each}} for each in places
        ]
        wanted = {"locations": locations, "filter": text, "order_by": list(order), "max_results": 20, **more}
        return talk.post(f"{V3}/search", says, wanted, free=free)

    for text in FOUND:
        ask(text, text)
    ask("text", "text LIKE '%tell of%'", free="MLflow takes the word for a type; here it is a field")
    for text in REFUSED:
        ask(f"refused: {text}", text)
    for order in ORDERS:
        ask(f"in the order of {order}", "", *order.split(", "))
    ask("both experiments", places=(home, other))
    ask("of the run", f"run_id = '{run}'")
    ask("of the run in metadata", f"request_metadata.mlflow.sourceRun = '{run}'")
    page = ask("a page", max_results=3)
    ask("the next", max_results=3, page_token=page.get("next_page_token", ""))
    ask("a page of nothing", max_results=0)
    ask("a page too large", max_results=501)
    ask("of no experiment", places=("999999",))
    talk.post(f"{V3}/search", "of no place", {"filter": ""})


FOUND = (
    "",
    "status = 'OK'",
    "attributes.status != 'OK'",
    "trace.status IN ('OK', 'ERROR')",
    "status NOT IN ('OK')",
    "timestamp > 1700000000000",
    "timestamp_ms <= 1700000010000 AND timestamp_ms > 5",
    "execution_time_ms > 83",
    "execution_time < 83",
    "end_time > 1700000005000",
    "name = 'name a'",
    "name LIKE 'name%'",
    "name ILIKE 'NAME B'",
    "name RLIKE '^name [ab]$'",
    "trace.name != 'name a'",
    "request_id = 'tr-00000000000000000000000000000051'",
    "client_request_id = 'client-1'",
    "client_request_id LIKE '%-0'",
    "tags.team = 'blue'",
    "tag.team != 'red'",
    "tags.`team` LIKE 'b%'",
    "tags.team IS NULL",
    "tags.team IS NOT NULL",
    "metadata.odd = '1'",
    "request_metadata.odd IS NULL",
    "span.name = 'ask'",
    "span.name = 'ask' AND span.status = 'ERROR'",
    "span.type = 'CHAT_MODEL'",
    "span.type != 'CHAT_MODEL'",
    "span.status IN ('OK', 'ERROR')",
    "span.name LIKE 'span%'",
    "span.name RLIKE 'a.k'",
    "span.attributes.model LIKE '%gpt%'",
    "span.attributes.model ILIKE '%GPT%'",
    "span.content LIKE '%Rome%'",
    "trace.text ILIKE '%ROME%'",
    "feedback.score > 0.5",
    "feedback.score <= 0.2",
    "feedback.tone = 'kind'",
    "feedback.tone != 'cruel'",
    "feedback.right = 'true'",
    "feedback.score IS NOT NULL",
    "feedback.score IS NULL",
    "expectation.answer = 'Rome'",
    "expectation.answer LIKE '%om%'",
    "feedback.answer = 'Rome'",
)
REFUSED = (
    "colour = 'red'",
    "status > 3",
    "timestamp = 'now'",
    "tags.team = 5",
    "status ==",
    "span.colour = 'x'",
    "span.content = 'x'",
    "feedback.score > 'high'",
    "feedback.tone = 5",
    "issue.colour = 'x'",
    "timestamp IN ('1')",
    "colours.team = 'x'",
)
ORDERS = (
    "timestamp ASC",
    "timestamp_ms DESC",
    "execution_time DESC",
    "execution_time_ms",
    "status, timestamp ASC",
    "name DESC",
    "request_id",
    "tags.team",
    "metadata.odd DESC",
    "colour",
    "status, status",
)
