"""Fixtures that several test files share: one small real run and its deployment."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores, and threads that wait for one another would take them from both.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest.register_assert_rewrite("support")  # so that its assertions say what they found, too

from neurodeploy.lava.compat import lava_available, lava_version  # noqa: E402
from neurodeploy.support import figures  # noqa: E402
from support.command import run_json  # noqa: E402

RENDERED = figures.rendered
PLACEHOLDERS = {
    "png": b"\x89PNG\r\n\x1a\n",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
}
WITHOUT_LAVA = "Lava is not installed"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked ``lava`` where there is none."""
    if not lava_available():
        skipped = pytest.mark.skip(reason=WITHOUT_LAVA)
        for item in items:
            if item.get_closest_marker("lava") is not None:
                item.add_marker(skipped)


def pytest_collection_finish() -> None:
    """Leave what importing all tests made out of every garbage collection to come.

    There is one at each start of Lava, and among so many objects it takes longer than the run.
    """
    gc.collect()
    gc.freeze()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Forget what a module cached once its tests are over: each fork copies the tables of it."""
    module = item.getparent(pytest.Module)
    if module is None or (nextitem is not None and nextitem.getparent(pytest.Module) is module):
        return
    for value in vars(module.obj).values():
        if getattr(value, "__module__", None) == module.obj.__name__:
            getattr(value, "cache_clear", bool)()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let matplotlib render figures for tests marked ``pictures`` alone.

    Each report has several, which take most of the time of ``simulate``, ``export`` or ``learn``.
    They are put together in every test all the same.
    """
    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker("pictures") is None:
            patch.setattr(figures, "rendered", lambda figure, form: PLACEHOLDERS[form])
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Which of both was run: with Lava, or without."""
    reports = terminalreporter.stats.get("skipped", [])
    skipped = [r for r in reports if r.longrepr and WITHOUT_LAVA in str(r.longrepr[-1])]
    terminalreporter.write_line(
        f"Run with Lava {lava_version()}."
        if lava_available()
        else f"Run without Lava, which is not installed: {len(skipped)} tests of it were skipped."
    )


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which train and export have run, with one epoch only."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        # Whichever test comes first.
        patch.setattr(figures, "rendered", RENDERED)
        make_deployment(folder)
    return folder


def make_deployment(folder: Path) -> None:
    trained = run_json("train", "digits_conv", "--set", "training.epochs=1", folder=folder)
    assert trained["run"] == "runs/digits_conv-001"
    exported = run_json("export", "--target", "loihi2", folder=folder)
    assert exported["deployment"] == "deployments/digits_conv-loihi2-001"
