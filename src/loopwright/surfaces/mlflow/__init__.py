"""Speaks MLflow's REST protocol: the same verbs, for clients that know nothing of Loopwright."""
