"""Closed loops across slices: training, retraining, rollout, incidents, and the question why."""
