"""Unfinished files and folders: each is held by its maker, and those that nobody holds are removed.

They are named ``.NAME.PID-xxxxxxxx.partial``, which no reader takes for a result. The maker keeps
them locked, and the kernel opens the lock when it ends, however it ends: so whoever can lock one
has met a leftover. That holds between the machines that share a folder, too.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from neurodeploy.errors import InputError
from neurodeploy.support.signals import signals_deferred

ELSEWHERE = "set TMPDIR to a folder on a disk with more room"

CLAIM = ".claim"
"""Added to a name that is claimed and not yet used."""

LEFTOVER = re.compile(r"\.(.+)\.[0-9]+(-[0-9a-f]{8})?\.partial", re.DOTALL)
"""Without the second part they were left by versions 0.2 and older, or may be somebody else's."""


@contextmanager
def partial_file(path: Path) -> Iterator[tuple[Path, int]]:
    """An empty file beside ``path``, and its descriptor; what is left of it goes in the end.

    Raises:
        OSError: it cannot be made.
    """
    with _held(path.parent, path.name, is_folder=False) as found:
        yield found


@contextmanager
def partial_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside ``path``, for this user alone; what is left of it goes in the end.

    Raises:
        OSError: it cannot be made.
    """
    with _held(path.parent, path.name, is_folder=True) as (found, _):
        yield found


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder where the system keeps temporary files, until the end of the block.

    Raises:
        InputError: it cannot be made.
    """
    with ExitStack() as held:
        try:
            place = Path(tempfile.gettempdir()) / "neurodeploy"
            found = held.enter_context(partial_folder(place))
        except OSError as error:
            raise InputError(f"no temporary folder can be made: {error}", fix=ELSEWHERE) from None
        yield found


def reserve(path: Path, size: int) -> None:
    """Make a file of ``size`` zeros, at least 1, which the disk has room for.

    A file with holes takes its room only when it is filled, and through a memory map a full disk
    is then no error but the end of the process.

    Raises:
        InputError: there is no room.
    """
    try:
        with path.open("xb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        inside = LEFTOVER.fullmatch(path.parent.name)
        place = path.parent.parent if inside else path.parent
        raise InputError(
            f"{place}: temporary files need {_megabytes(size)} here and "
            f"{_megabytes(shutil.disk_usage(path.parent).free)} are free ({reason})",
            fix=ELSEWHERE,
        ) from None


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Make ``path`` as an empty folder; remove it in the end if it still is one.

    Of processes that claim one name, one gets it: the others are given False. The claim of a
    process that was killed is removed with its other leftovers.

    Raises:
        OSError: it cannot be made.
    """
    with _held(path.parent, path.name + CLAIM, is_folder=False):
        mine = False
        try:
            with signals_deferred():
                try:
                    with _alone_in(path.parent):
                        path.mkdir()
                    mine = True
                except FileExistsError:
                    pass
            yield mine
        finally:
            if mine:
                with suppress(OSError):
                    path.rmdir()


def named_in_the_end(path: Path) -> Path:
    """A path in an unfinished folder as it will be when that has its name."""
    parts = [match[1] if (match := LEFTOVER.fullmatch(part)) else part for part in path.parts]
    return Path(*parts)


def remove_temporary_leftovers() -> None:
    """Remove what processes that are gone left where the system keeps temporary files."""
    with suppress(OSError):
        remove_leftovers(Path(tempfile.gettempdir()), certain=True)


def remove_leftovers(folder: Path, *, certain: bool = False) -> None:
    """Remove what processes that are gone left unfinished in a folder.

    Args:
        certain: but for what may be somebody else's.
    """
    with suppress(OSError):
        for entry in folder.iterdir():
            match = LEFTOVER.fullmatch(entry.name)
            if match and (match[2] or not certain):
                with suppress(OSError):
                    _remove_if_free(entry, match[1])


def _remove_if_free(path: Path, name: str) -> None:
    with _locked(path):
        if name.endswith(CLAIM):
            with _alone_in(path.parent), suppress(OSError):
                # What nobody holds may be the claim of one who came too late, or locks it now.
                if not _others_claim(path, name):
                    path.with_name(name.removesuffix(CLAIM)).rmdir()
        _remove(path)


def _others_claim(path: Path, name: str) -> bool:
    """Whether a process that lives has a claim to the same name."""
    for other in path.parent.iterdir():
        match = LEFTOVER.fullmatch(other.name)
        if other == path or not match or match[1] != name:
            continue
        try:
            with _locked(other):
                pass
        except BlockingIOError:
            return True
        except FileNotFoundError:
            continue
    return False


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold what nobody holds.

    Raises:
        BlockingIOError: somebody does.
    """
    lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Nobody else makes or removes a claimed folder in there."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
        return
    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _held(folder: Path, name: str, *, is_folder: bool) -> Iterator[tuple[Path, int]]:
    remove_leftovers(folder)
    made: list[tuple[Path, int]] = []
    try:
        with signals_deferred():
            made.append(_made(folder, name, is_folder))
        yield made[0]
    finally:
        with signals_deferred():
            for path, lock in made:
                _remove(path)
                os.close(lock)


def _made(folder: Path, name: str, is_folder: bool) -> tuple[Path, int]:
    """A new file or folder, and the descriptor that it is locked by."""
    while True:
        path = folder / f".{name}.{os.getpid()}-{secrets.token_hex(4)}.partial"
        if is_folder:
            path.mkdir(0o700)
            flags = os.O_RDONLY
        else:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        try:
            lock = os.open(path, flags, 0o666)
        except FileNotFoundError:
            if folder.is_dir():
                continue  # taken for a leftover before it was locked
            raise
        with suppress(OSError):  # a file system without locks has no leftovers removed, either
            fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(OSError):
            if os.path.samestat(os.fstat(lock), path.stat()):
                return path, lock
        os.close(lock)
