"""Runs one operation right: decode, authorise, transact, journal, reply."""
