"""Owns models and their versions: registering, loading, promoting, rolling back."""
