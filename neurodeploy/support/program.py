"""A command as a program: however it is ended, and whatever becomes of its output.

Ctrl-C, SIGTERM and SIGHUP unwind it, so that nothing unfinished stays behind, and end it with one
line and 130, 143 or 129. Its work is what it leaves on the disk: where nobody reads its output any
more it goes on to the end, and ends as it would have otherwise.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from neurodeploy.support.processes import is_main
from neurodeploy.support.signals import ENDING, exit_on, restore

_OUTPUTS = {1: "stdout", 2: "stderr"}

_running = False


class _Outlet(io.FileIO):
    """A file descriptor of this process, which takes what is written even when nothing does.

    Attributes:
        failure: the first error, None while all is well.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write what can be written, and say that all was."""
        try:
            return super().write(data)
        except OSError as error:
            self.failure = self.failure or error
            return memoryview(data).nbytes


@contextmanager
def program(*, last: bool = False) -> Iterator[None]:
    """Run the block as the whole of a program; within another such block it is a part of that.

    Args:
        last: nothing follows but the end of this process, which no signal is to disturb.

    Raises:
        SystemExit: always, with the exit code: of the block, which is 0 without an exception; 2 if
            that were 0 but the output could not be written, other than for want of a reader.
    """
    global _running
    if _running:
        yield
        return
    _running = True
    before = {name: getattr(sys, name) for name in _OUTPUTS.values()}
    hook = sys.unraisablehook
    arranged: list[int] = []
    outlets: dict[str, _Outlet] = {}
    try:
        try:
            # A launcher has its own way with the others, which hold nothing.
            arranged = exit_on(signal.SIGTERM, signal.SIGHUP) if is_main() else []
            sys.unraisablehook = _sent_again
            outlets = _guarded_outputs()
            yield
            code: int | str | None = 0
        except BaseException as error:
            ended = _what_ended(error, arranged)
            if isinstance(ended, KeyboardInterrupt):
                print("Interrupted.", file=sys.stderr)
                code = 128 + signal.SIGINT
                _forget_interruption()
            elif isinstance(ended, SystemExit):
                code = ended.code
                if _of_signal(ended, arranged):
                    print("Terminated.", file=sys.stderr)
            else:
                raise
        raise SystemExit(_after_output(code, outlets.get("stdout")))
    finally:
        _running = False
        sys.unraisablehook = hook
        if last:
            _ignore_signals()
        restore(arranged)
        for name, stream in before.items():
            setattr(sys, name, stream)


def _forget_interruption() -> None:
    """Keep Python from ending this process by SIGINT for an interruption that was answered.

    ``python -m`` does that, whatever the exit code, once a KeyboardInterrupt has left code that was
    given as a string, as the methods of a dataclass are while its module is imported. The next
    such code that runs to its end clears the mark (``run_eval_code_obj``, Python/pythonrun.c).
    """
    exec("")


def _what_ended(error: BaseException, arranged: list[int]) -> BaseException:
    """The interruption that an error comes from, or the error itself.

    An extension module that is interrupted while it is imported makes an ImportError of it.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, KeyboardInterrupt) or _of_signal(found, arranged):
            return found
        found = found.__cause__ or found.__context__
    return error


def _of_signal(error: BaseException, arranged: list[int]) -> bool:
    return isinstance(error, SystemExit) and error.code in [128 + number for number in arranged]


def _sent_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Send a signal again that came where Python lets no exception out, as in a weakref's callback.

    Nobody would have heard of it, and the program would have gone on.
    """
    code = getattr(unraisable.exc_value, "code", None)
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        code = 128 + signal.SIGINT
    if code in [128 + number for number in ENDING]:
        threading.Timer(0.01, os.kill, (os.getpid(), code - 128)).start()
    else:
        sys.__unraisablehook__(unraisable)


def _ignore_signals() -> None:
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)


def _guarded_outputs() -> dict[str, _Outlet]:
    """Put outlets under the outputs that this process was started with."""
    for descriptor in (0, *_OUTPUTS):
        try:
            os.fstat(descriptor)
        except OSError:
            # Closed: else the next file that is opened would get its number, and the output.
            os.open(os.devnull, os.O_RDWR)
    outlets = {}
    for descriptor, name in _OUTPUTS.items():
        stream: TextIO | None = getattr(sys, name)
        if stream is not getattr(sys, f"__{name}__"):
            continue
        outlets[name] = _Outlet(descriptor)
        setattr(sys, name, _like(stream, outlets[name]))
    return outlets


def _like(stream: TextIO | None, outlet: _Outlet) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return io.TextIOWrapper(io.BufferedWriter(outlet), "utf-8", "backslashreplace")
    return io.TextIOWrapper(
        io.BufferedWriter(outlet),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _after_output(code: int | str | None, outlet: _Outlet | None) -> int | str | None:
    """The exit code, now that all output is written or never will be."""
    for name in _OUTPUTS.values():
        getattr(sys, name).flush()
    failure = outlet and outlet.failure
    if not failure or failure.errno == errno.EPIPE or code not in (0, None):
        return code
    reason = failure.strerror or str(failure)
    print(f"Error: the output cannot be written: {reason}", file=sys.stderr, flush=True)
    return 2
