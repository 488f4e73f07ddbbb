"""How files are told to browsers: a type by the name's end, and headers that keep every file from acting.

Whatever the type, a file is an attachment, in a sandbox of its own, and its type is not guessed anew: a page,
a drawing or a script that somebody logged is never run at the server's address.
"""

from __future__ import annotations

import mimetypes
from urllib.parse import quote

__all__ = ["attachment", "media_type"]

_TEXTS = frozenset(
    {"txt", "log", "err", "md", "rst", "csv", "tsv", "json", "ipynb", "xml", "js", "py", "py3"}
    | {"yaml", "yml", "toml", "ini", "cfg", "conf", "cnf", "cf", "properties", "prop", "hocon"}
    | {"MLmodel", "MLproject"}
)
_KNOWN = mimetypes.MimeTypes(filenames=())
_OCTETS = "application/octet-stream"
_SANDBOX = b"sandbox; default-src 'none'; frame-ancestors 'none'"


def media_type(name: str) -> str:
    """The type of a file by its name, the same on every machine; what people read is text."""
    if name.rpartition(".")[2] in _TEXTS:
        return "text/plain; charset=utf-8"
    found, packed = _KNOWN.guess_type(f"file.{name.rpartition('.')[2]}" if "." in name else name)
    return found if found and not packed else _OCTETS


def attachment(name: str) -> list[tuple[bytes, bytes]]:
    """The headers of a file that is sent."""
    return [
        (b"content-type", media_type(name).encode()),
        (b"content-disposition", b"attachment; filename*=UTF-8''" + quote(name, safe="").encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", _SANDBOX),
        (b"cache-control", b"private, no-cache"),
    ]
