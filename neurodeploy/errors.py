"""Errors a user can meet, each with the exit code of the command that raised it.

Every message says where, what was found, the limit and what to do, in one or a few lines. It refers
to our own parameters and functions by their names in Python, kept apart from the words, so that the
command line can replace them by its options and commands. The command line prints only the message;
a traceback means a defect of neurodeploy.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """Something that the caller chooses, as a message names it.

    Attributes:
        name: of a parameter of the function called, as in ``samples``; with a dot in it, of a key
            of the recipe, as in ``training.steps``.
        value: what it has or should be set to, as text; of a recipe's key as TOML; None for the
            name alone.
    """

    name: str
    value: str | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"


@dataclass(frozen=True)
class Value:
    """A value alone, where the setting that takes it is named before: the ``>`` of a comparison."""

    setting: str
    value: str

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Step:
    """A function to call: a step of the way from training to the chip.

    Attributes:
        name: of the function, as in ``export``.
        subject: what it is to be called with, as text.
    """

    name: str
    subject: str = ""

    def __str__(self) -> str:
        return f"{self.name}({self.subject})"


Named = Setting | Value | Step


class Text(str):
    """Words for people, which remember what of ours they name.

    As a ``str`` it reads in Python's names. Whatever makes a plain ``str`` of it (an f-string,
    JSON) keeps the words and loses the memory.

    Attributes:
        parts: the words in pieces, and between them what they name.
    """

    parts: tuple[str | Named, ...]

    def __new__(cls, *parts: str | Named) -> Text:
        """The parts one after another; those of a ``Text`` among them count as its own."""
        self = super().__new__(cls, "".join(map(str, parts)))
        inner = ((p.parts if isinstance(p, Text) else (p,)) for p in parts)
        self.parts = tuple(part for found in inner for part in found)
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        """For pickle: errors travel between processes."""
        return self.parts

    @property
    def named(self) -> tuple[Named, ...]:
        """What the words name, in their order."""
        return tuple(part for part in self.parts if isinstance(part, Named))

    def worded(self, word: Callable[[Named], str]) -> str:
        """The words with other names in them."""
        return "".join(word(part) if isinstance(part, Named) else part for part in self.parts)


def in_lines(texts: Iterable[str]) -> Text:
    """The texts below one another."""
    parts = [part for text in texts for part in ("\n", text)]
    return Text(*parts[1:])


class NeurodeployError(Exception):
    """Base of every error that is the input's fault or the machine's, never ours.

    Attributes:
        text: the whole message.
        fix: what to do, the end of the message; None where that is said in the message, or
            nothing helps.
    """

    exit_code = 2

    def __init__(self, message: str = "", *, fix: str | None = None) -> None:
        self.text = Text(message) if fix is None else Text(message, "; ", fix)
        self.fix = fix if fix is None else Text(fix)
        super().__init__(self.text)


class InputError(NeurodeployError):
    """A file, folder, name or option cannot be used as given."""


class UnwritableError(InputError):
    """A file or folder cannot be written where it was to be."""


class MissingDependencyError(NeurodeployError):
    """An optional package is absent; the message names the command that installs it."""


class UnsupportedError(NeurodeployError):
    """The network needs something that cannot be expressed, or that would have to be guessed."""


class SimulationError(NeurodeployError):
    """A simulation ran into an exception, a time limit or an interruption."""


class TimeLimitError(SimulationError):
    """A simulation took longer than it was allowed to."""


class DivergedError(SimulationError):
    """A training diverged: its loss or its weights are unusable."""

    exit_code = 1


class InterruptionError(SimulationError):
    """Ctrl-C ended something that can be continued; the message says how."""

    exit_code = 130


class CheckFailedError(NeurodeployError):
    """A check the user asked for failed: target limits, parity, strict arithmetic."""

    exit_code = 1


class ImportNote(UserWarning):
    """What an import repaired in a file or assumed about it."""


class DataWarning(UserWarning):
    """An assumption about samples, or something in them that looks like a mistake."""


class PictureWarning(UserWarning):
    """A picture or report could not be made; the result itself is complete."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is meant: ``"; did you mean 'x'?"`` or a list of them all."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
