"""What the command line would say of an error that the library raised."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import click
import pytest

from neurodeploy.cli import main
from neurodeploy.cli.wording import worded
from neurodeploy.errors import NeurodeployError


def said_by(command: str, text: str) -> str:
    """A text of the library in the words of a command, such as ``bench train``."""
    found: click.Command = main
    for name in command.split():
        assert isinstance(found, click.Group)
        found = found.commands[name]
    return worded(text, main, found)


@contextmanager
def refused(error: type[NeurodeployError], match: str, *, by: str) -> Iterator[None]:
    """An error is raised inside that ``by``, a command, puts into words that match."""
    with pytest.raises(error) as caught:
        yield
    said = said_by(by, caught.value.text)
    assert re.search(match, said), said
