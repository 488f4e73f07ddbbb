"""The web pages: server-rendered, live by server-sent events, with no outside request and no build step."""

from loopwright.surfaces.ui.site import build_site

__all__ = ["build_site"]
