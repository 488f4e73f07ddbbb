"""Adapters fulfil ports with one technology each and are the only places that import it."""
