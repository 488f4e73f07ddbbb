"""Loopwright: the whole loop of machine learning in one install."""

__version__ = "0.1.0"
