"""The ``neurodeploy`` command, also as ``python -m neurodeploy``.

Nothing heavy is imported before Ctrl-C is looked after.
"""

from __future__ import annotations

import sys

try:
    from neurodeploy.support.program import program
except KeyboardInterrupt:
    print("Interrupted.", file=sys.stderr)
    exec("")  # As _forget_interruption of that module.
    raise SystemExit(130) from None


def main() -> None:
    """Run the command line, and end with its exit code."""
    with program(last=True):
        from neurodeploy.cli import main as command_line

        command_line()


if __name__ == "__main__":
    main()
