"""Owns runs: their states, parameters, metrics, and what they read and made."""
