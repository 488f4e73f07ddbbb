"""Owns endpoints: which model versions answer, how calls are split, and the log of what was answered."""
