"""Objects by a folder of this machine, or by any store fsspec speaks to (S3 first)."""

from loopwright.adapters.objects.contents import FsspecContents
from loopwright.adapters.objects.folder import FolderObjects
from loopwright.adapters.objects.remote import FsspecObjects

__all__ = ["FolderObjects", "FsspecContents", "FsspecObjects"]
