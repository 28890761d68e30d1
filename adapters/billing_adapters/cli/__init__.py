"""The ``billing`` command."""

from __future__ import annotations

import sys

__all__ = ["main"]

_EXTRA = {"attrs", "click", "genai_prices", "plotext", "rich", "sqlite_utils"}


def main() -> None:
    """Run the command line."""
    try:
        from billing_adapters.cli.app import cli

        cli()
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        sys.exit(f"billing needs {missing}: pip install 'billing-core[cli]'")
    except KeyboardInterrupt:  # before a command has begun, or after it has ended
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)  # as by the signal
