"""Datasets: contracts, immutable versions, time travel, streams of rows, profiles, quarantine."""
