"""Conformance suites, fakes and builders for those who build on Loopwright; needs pytest and hypothesis."""
