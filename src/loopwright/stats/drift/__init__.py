"""Measures how far a current sample is from a reference that was prepared once."""
