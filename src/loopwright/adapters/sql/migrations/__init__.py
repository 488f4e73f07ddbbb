"""Migrations of the ledger's tables, run by Alembic; a new store is made from the schema instead."""
