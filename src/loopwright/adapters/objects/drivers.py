"""Drivers of object stores: which one speaks a URL's scheme, made only when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopwright.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["connected"]

_EXTRAS = {"s3": "s3"}


def connected(
    url: str, options: dict[str, Any]
) -> tuple[AbstractFileSystem, str, tuple[type[Exception], ...]]:
    """The file system of a store, the URL's path in it, and what its driver raises beside OSError.

    `Invalid` for what is no such URL, `Unavailable` with the line to type where the driver is not installed.
    """
    import fsspec

    scheme, mark, path = url.partition("://")
    if not mark or not path.strip("/"):
        raise Invalid(f"{url!r} is not the URL of an object store", hint="write it as s3://bucket/prefix")
    errors = _driver_errors(scheme)
    try:
        files = fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False, **options)
    except ImportError as error:
        raise _not_installed(scheme) from error
    except ValueError as error:
        raise Invalid(f"the scheme {scheme!r} is not that of an object store", hint="s3:// is one") from error
    return files, str(files._strip_protocol(url)).rstrip("/"), errors


def _driver_errors(scheme: str) -> tuple[type[Exception], ...]:
    """What the driver raises beside OSError; asking for it imports the driver."""
    if scheme != "s3":
        return ()
    try:
        import s3fs  # noqa: F401 - proves that the driver is there before a bucket is asked
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise _not_installed(scheme) from error
    return BotoCoreError, ClientError


def _not_installed(scheme: str) -> Unavailable:
    extra = _EXTRAS.get(scheme, "all")
    return Unavailable(
        f"the driver of {scheme}:// object stores is not installed",
        hint=f'pip install "loopwright[{extra}]"',
    )
