"""Entry points: mounts the surfaces in one server, starts and supervises processes, holds the demo."""
