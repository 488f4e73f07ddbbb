"""Owns studies: trials of parameters, each a run, and the best of them."""
