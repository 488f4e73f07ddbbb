"""The ledger on SQLite and PostgreSQL, by SQLAlchemy Core."""

from loopwright.adapters.sql.opening import open_ledger
from loopwright.adapters.sql.upgrading import UpgradeReport, upgrade_ledger

__all__ = ["UpgradeReport", "open_ledger", "upgrade_ledger"]
