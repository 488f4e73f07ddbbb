"""Owns watching: realised quality, drift, feeds and skew as signals; alarms that say what and since when."""
