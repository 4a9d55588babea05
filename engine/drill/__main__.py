"""`python -m holdfast.drill`."""

from __future__ import annotations

from .command import drill

if __name__ == "__main__":
    drill(prog_name="python -m holdfast.drill")
