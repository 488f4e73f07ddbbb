"""A real server asked by schemathesis for all that its own description allows, and what it does not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

from tests.attacks.fuzzing.environment import tools
from tests.attacks.victims import Victim

EXAMPLES = settings().max_examples // 10
"""of each operation: 5, or 50 in `make fuzz`"""
RECURSIVE = (
    "data.check",
    "data.delete_rows",
    "data.set_contract",
    "features.publish_service",
    "features.publish_view",
)
"""their bodies hold expressions within expressions, of which the search for every edge finds no end"""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


@pytest.mark.slow
def test_the_server_answers_as_it_says_it_does(victim: Victim, tmp_path: Path) -> None:
    asked(victim, tmp_path, "fuzzing")


@pytest.mark.slow
def test_it_does_so_at_every_edge_and_along_what_leads_on(victim: Victim, tmp_path: Path) -> None:
    without = [word for name in RECURSIVE for word in ("--exclude-operation-id", name)]
    asked(victim, tmp_path, "examples,coverage,stateful", *without)


def asked(victim: Victim, folder: Path, phases: str, *more: str) -> None:
    """Go through phases of the tool; nothing may be found."""
    url = "http://{}:{}".format(*victim.address)
    done = subprocess.run(
        [
            *(str(tools() / "bin/schemathesis"), "run", f"{url}/api/v1/openapi.json", "--url", url),
            *("--phases", phases, "--max-examples", str(EXAMPLES), "--checks", ",".join(CHECKS)),
            *("--continue-on-failure", "--no-shrink", "--request-timeout", "60", "--no-color"),
            *("--suppress-health-check", "all"),
            *("--exclude-path", "/api/v1/events", *more),  # a stream that does not end by itself
        ],
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    victim.is_well()
