"""Which of the comparisons with MLflow are collected: those whose routes the server has."""

from tests.protocols.mlflow.groups import DONE_GROUPS

collect_ignore = [] if DONE_GROUPS else ["test_recorded.py"]
