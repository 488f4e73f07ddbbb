"""Records what sessions see of a real MLflow server: `python -m tests.protocols.mlflow.sessions.expecting`.

A session and a client as `tracking-3` may be named; all of them are recorded otherwise.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.protocols.mlflow.peers import mlflow_server, run_as_peer
from tests.protocols.mlflow.sessions.done import SESSIONS

__all__ = ["EXPECTED", "expected", "seen"]

EXPECTED = Path(__file__).parent / "expected"
RECEIVERS_HERE = {
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
    "MLFLOW_WEBHOOK_CACHE_TTL": "0",
    "MLFLOW_ALLOW_FILE_URI_AS_MODEL_VERSION_SOURCE": "true",
}
"""lets MLflow post webhooks to receivers of this machine, at once after they were changed"""
RUNNER = "tests.protocols.mlflow.sessions.told"


def seen(session: str, major: str, uri: str, folder: Path) -> Any:
    """What a session sees of a server; the last line on its own begins the JSON."""
    printed = run_as_peer(major, RUNNER, session, uri, folder=folder)
    return json.loads(printed[printed.rindex("\n{\n") :])


def expected(session: str, major: str) -> Any:
    """What it saw of a real server."""
    return json.loads((EXPECTED / f"{session}-{major}.json").read_text())


def main(named: list[str]) -> None:
    """Record each client's sessions against a server of MLflow 3 of its own."""
    EXPECTED.mkdir(exist_ok=True)
    chosen = [each for each in SESSIONS if not named or "-".join(each) in named]
    for major in sorted({major for _, major in chosen}):
        with mlflow_server("3", environment=RECEIVERS_HERE) as peer:
            for session in (name for name, client in chosen if client == major):
                with tempfile.TemporaryDirectory() as folder:
                    found = seen(session, major, peer.url, Path(folder).resolve())
                text = json.dumps(found, indent=1, ensure_ascii=False)
                (EXPECTED / f"{session}-{major}.json").write_text(text + "\n")
                sys.stderr.write(f"{session}-{major}: {len(text)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
