"""Owns quality gates: which checks a candidate must hold, and the verdict on measured evidence."""
