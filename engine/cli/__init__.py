"""The command line. Every command takes `--json`, and exits 0 only on success."""

from .commands import main

__all__ = ["main"]
