"""Redis, or what speaks as it does: one string a view and key, a hash of definitions, one of watermarks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.exceptions import RedisError

from loopwright.adapters.online.shared import Change, Held, SharedOnline
from loopwright.core.errors import Unavailable

__all__ = ["RedisOnline", "RedisValues"]

_SWAP = """
local late = {}
for i, key in ipairs(KEYS) do
  local tag = redis.call('GETRANGE', key, 0, 7)
  if tag == ARGV[2 * i - 1] then
    redis.call('SET', key, ARGV[2 * i])
  else
    late[#late + 1] = i
  end
end
return late
"""
_RAISE = """
for i, name in ipairs(ARGV) do
  if i > 1 then
    local held = redis.call('HGET', KEYS[1], name)
    local later = not held or #held < #ARGV[1] or (#held == #ARGV[1] and held < ARGV[1])
    if later then redis.call('HSET', KEYS[1], name, ARGV[1]) end
  end
end
"""
_AT_ONCE = 1000
_SPECIAL = re.compile(rb"[\\*?\[\]^]")
"""what means more than itself in a pattern of keys"""
_BASE = 1 << 62
"""added to a watermark, so that all of them have as many digits and compare as text"""


class RedisValues:
    """One client, which keeps a pool of connections. All keys begin with the prefix."""

    def __init__(self, url: str, *, prefix: str = "loopwright:", timeout_s: float = 5.0) -> None:
        with _translated(url):
            self._client: Any = redis.Redis.from_url(
                url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
            )
            self._client.ping()
        self._url = url
        self._prefix = prefix.encode()
        self._definitions = self._prefix + b"views"
        self._watermarks = self._prefix + b"watermarks"
        self._swap = self._client.register_script(_SWAP)
        self._raise = self._client.register_script(_RAISE)

    def _key(self, view: str, key: bytes) -> bytes:
        return b"%sv:%s:%s" % (self._prefix, view.encode(), key)

    def definitions(self) -> Mapping[str, bytes]:
        """By name."""
        with _translated(self._url):
            found: Mapping[bytes, bytes] = self._client.hgetall(self._definitions)
        return {name.decode(): definition for name, definition in found.items()}

    def define(self, name: str, definition: bytes) -> bytes:
        """Keep the first of a name."""
        with _translated(self._url):
            self._client.hsetnx(self._definitions, name, definition)
            found: bytes = self._client.hget(self._definitions, name)
        return found

    def fetch(self, asked: Sequence[tuple[str, Sequence[bytes]]]) -> Sequence[Held]:
        """One pipeline of one `HMGET` and one `MGET`."""
        keys = [self._key(view, key) for view, each in asked for key in each]
        with _translated(self._url):
            pipe = self._client.pipeline(transaction=False)
            pipe.hmget(self._watermarks, [view for view, _ in asked])
            if keys:
                pipe.mget(keys)
            marks, *found = pipe.execute()
        values = iter(found[0] if found else ())
        return [
            Held(None if mark is None else int(mark) - _BASE, [next(values) for _ in each])
            for mark, (_, each) in zip(marks, asked, strict=True)
        ]

    def swap(self, view: str, changes: Sequence[Change]) -> Sequence[bytes]:
        """One script on the server, which nothing comes between."""
        arguments = [part for change in changes for part in (change.tag or b"", change.value)]
        with _translated(self._url):
            late = self._swap(keys=[self._key(view, change.key) for change in changes], args=arguments)
        return [changes[place - 1].key for place in late]

    def raise_watermark(self, views: Sequence[str], watermark_us: int) -> None:
        """One script on the server."""
        with _translated(self._url):
            self._raise(keys=[self._watermarks], args=[str(watermark_us + _BASE), *views])

    def keys(self, view: str) -> Sequence[bytes]:
        """`SCAN`, a thousand keys at a time, each of them once."""
        begin = self._key(view, b"")
        pattern = _SPECIAL.sub(rb"\\\g<0>", begin) + b"*"
        with _translated(self._url):
            found = set(self._client.scan_iter(match=pattern, count=_AT_ONCE))
        return [key[len(begin) :] for key in found]

    def remove(self, view: str, key: bytes) -> None:
        """`DEL`, so that the memory is given back at once."""
        with _translated(self._url):
            self._client.delete(self._key(view, key))

    def close(self) -> None:
        """Close the pool."""
        self._client.close()


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise Unavailable(
            f"the online store at {url.rpartition('@')[2]} does not answer: {error}",
            hint="start it, or check the setting `online`",
        ) from error


class RedisOnline(SharedOnline):
    """Online features in Redis."""

    def __init__(self, url: str, *, prefix: str = "loopwright:") -> None:
        super().__init__(RedisValues(url, prefix=prefix))
