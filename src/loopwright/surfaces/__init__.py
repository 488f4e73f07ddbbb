"""Bytes to a request, a reply to bytes: the surfaces carry requests and hold no rule."""
