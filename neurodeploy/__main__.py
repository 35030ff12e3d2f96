"""``python -m neurodeploy``, the same as the ``neurodeploy`` command."""

from neurodeploy.cli import main

main()
