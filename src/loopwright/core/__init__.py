"""Says what things are and which changes are legal; no I/O, no clock, no chance."""
