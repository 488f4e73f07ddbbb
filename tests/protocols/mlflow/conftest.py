"""Which of the comparisons with MLflow are collected: those whose routes the server has."""

from tests.protocols.mlflow.groups import DONE_GROUPS
from tests.protocols.mlflow.sessions.done import DONE_SESSIONS

collect_ignore = [
    *([] if DONE_GROUPS else ["test_recorded.py"]),
    *([] if DONE_SESSIONS else ["test_sessions.py"]),
]
