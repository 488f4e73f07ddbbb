"""What a model version says of itself, and what a promotion gives back."""

from __future__ import annotations

from datetime import datetime

import msgspec

from loopwright.core.nouns import Alias, Json, Version

__all__ = ["KIND", "ModelBody", "Promotion"]

KIND = "model"


class ModelBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a model's manifest: everything serving needs beside the framework's files."""

    flavor: str
    service: str
    """address of the feature service's version that makes its inputs"""
    features: tuple[str, ...]
    """its inputs in order: the service's outputs"""
    categorical: dict[str, tuple[str, ...]]
    """levels by input, fixed at training; an input's value is the index of its level"""
    objective: str
    params: Json
    rounds: int
    seed: int
    training_set: str
    """address of the dataset version it was trained on"""
    trained_until: datetime
    """no label known later than this was seen"""
    code: str
    """digest of the training code"""
    importance: dict[str, float]


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """An alias that moved, with what it pointed to before."""

    model: str
    alias: Alias
    version: Version
    previous: int | None
