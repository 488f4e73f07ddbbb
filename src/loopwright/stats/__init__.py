"""Computes: arrays in, numbers with their uncertainty out; no clock, no files, no chance of its own."""
