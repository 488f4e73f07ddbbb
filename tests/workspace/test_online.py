"""Which online store a setting means."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.adapters.online import SqliteOnline
from loopwright.adapters.online.redis import RedisOnline
from loopwright.core.errors import Invalid
from loopwright.testing.redis import RedisServer
from loopwright.workspace import Settings
from loopwright.workspace.catalogue import Assembly


def test_a_file_of_the_workspace_unless_a_server_is_named(tmp_path: Path, redis_server: RedisServer) -> None:
    for url, kind in (("", SqliteOnline), (redis_server.url, RedisOnline)):
        ports = Assembly(Settings(workspace=str(tmp_path), online=url))
        assert isinstance(ports.online, kind)
        ports.online.close()


def test_a_store_of_another_kind_is_refused_and_no_secret_is_shown(tmp_path: Path) -> None:
    settings = Settings(workspace=str(tmp_path), online="mongodb://user:secret@host")
    with pytest.raises(Invalid) as caught:
        _ = Assembly(settings).online
    assert "redis://" in caught.value.hint
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(settings)
