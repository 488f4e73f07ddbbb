"""Tells the outside world: webhooks on what happens to models and prompts, delivered durably."""
