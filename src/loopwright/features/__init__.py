"""Owns features: one definition for training and serving, as known at the instant that is asked about."""
