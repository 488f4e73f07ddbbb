"""Speaks the Open Inference Protocol V2 over HTTP: bytes to a call of the runtime, its reply to bytes."""
