"""Histories that MLflow keeps behind a server or in a folder, and the files beside them."""

from loopwright.adapters.histories.folder import FolderHistory
from loopwright.adapters.histories.rest import Credentials, RestHistory
from loopwright.adapters.histories.roots import Root, Roots

__all__ = ["Credentials", "FolderHistory", "RestHistory", "Root", "Roots"]
