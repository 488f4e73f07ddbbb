"""Fulfils `ports.courier`: posts to addresses of strangers, and keeps their secrets sealed."""

from loopwright.adapters.notify.posting import HttpCourier
from loopwright.adapters.notify.sealing import KeySafe

__all__ = ["HttpCourier", "KeySafe"]
