"""Lava is imported only when asked for, and what stops that says what to do."""

from __future__ import annotations

import pytest

from neurodeploy.lava.compat import INSTALL_COMMAND, lava_available, require_lava
from support.lava_program import needs_proc, run

pytestmark = needs_proc

LOADED = """
import multiprocessing
def loaded():
    return [name for name in sys.modules if name.split(".")[0] == "lava"]
"""


def test_importing_the_room_and_asking_for_a_version_imports_nothing_of_lava():
    outcome = run(
        LOADED
        + """
import neurodeploy.lava.compat as compat
import neurodeploy.lava.runtime
compat.lava_available(); compat.lava_version()
say(loaded=loaded(), method=multiprocessing.get_start_method(allow_none=True))
"""
    )
    assert outcome.code == 0, outcome.stderr
    assert outcome.said == [{"loaded": [], "method": None}]


@pytest.mark.lava
@pytest.mark.parametrize("before", ["", "multiprocessing.Queue()"])
def test_lava_imports_and_leaves_dataclass_and_start_method_as_they_should_be(before: str):
    outcome = run(
        f"""
import dataclasses, multiprocessing
{before}
original = dataclasses.dataclass
from neurodeploy.lava.compat import require_lava
require_lava()
require_lava()
from lava.magma.compiler.var_model import AxonEncoder, ByteEncoder, Region
import lava.proc.lif.process
others = [name for name, module in sorted(sys.modules.items())
          if getattr(module, "dataclass", original) is not original]
say(restored=dataclasses.dataclass is original, others=others, axon=repr(AxonEncoder().hi),
    region=Region.__hash__ is None, method=multiprocessing.get_start_method())
"""
    )
    assert outcome.code == 0, outcome.stderr
    [said] = outcome.said
    assert said["restored"]
    assert said["others"] == ["lava.magma.compiler.var_model"]
    assert said["axon"] == "ByteEncoder(base=0, len=0, ptr=0)"
    assert said["region"]  # a class that needed no help is as Lava wrote it
    assert said["method"] == "fork"


@pytest.mark.lava
def test_another_start_method_is_refused_and_kept():
    outcome = run(
        LOADED
        + """
multiprocessing.set_start_method("spawn")
from neurodeploy.errors import SimulationError
from neurodeploy.lava.compat import require_lava
try:
    require_lava()
except SimulationError as error:
    from neurodeploy.cli import main
    from neurodeploy.cli.wording import worded
    say(error=worded(error.text, main, main.commands["simulate"]), loaded=loaded(),
        method=multiprocessing.get_start_method())
"""
    )
    assert outcome.code == 0, outcome.stderr
    [said] = outcome.said
    assert "'spawn'" in said["error"]
    assert "'fork'" in said["error"]
    assert "--engine reference" in said["error"]
    assert (said["loaded"], said["method"]) == ([], "spawn")


@pytest.mark.parametrize("hidden", ["lava", "networkx", "greenlet"])
def test_missing_lava_or_a_missing_part_of_it_says_what_to_install(hidden: str):
    if hidden != "lava" and not lava_available():
        pytest.skip("Lava is not installed")
    outcome = run(
        f"""
import dataclasses
original = dataclasses.dataclass
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hide())
from neurodeploy.errors import MissingDependencyError
from neurodeploy.lava.compat import lava_available, require_lava
try:
    require_lava()
except MissingDependencyError as error:
    from neurodeploy.cli import main
    from neurodeploy.cli.wording import worded
    say(error=worded(error.text, main, main.commands["simulate"]), available=lava_available(),
        code=error.exit_code, restored=dataclasses.dataclass is original)
"""
    )
    assert outcome.code == 0, outcome.stderr
    [said] = outcome.said
    assert INSTALL_COMMAND in said["error"]
    assert (
        "pip install --no-deps --ignore-requires-python lava-nc==0.10.0 lava-dl==0.6.0"
        in said["error"]
    )
    assert "--engine reference" in said["error"]
    assert said["available"] == (hidden != "lava")
    assert said["restored"]
    assert (hidden != "lava") == (f"No module named {hidden!r}" in said["error"])


@pytest.mark.lava
def test_what_later_versions_of_numpy_took_away_is_not_used():
    """numpy 2.5 has no ``newshape``, and 2.4 makes no number of an array of one."""
    outcome = run(
        """
import warnings
import numpy as np
from neurodeploy.lava.compat import netx_with_numbers, netx_without_slayer, require_lava
require_lava()
warnings.simplefilter("error")
from lava.magma.core.process.ports.ports import ReshapePort
port = ReshapePort((2, 3), (6,))
forth, back = port.get_transform_func_fwd(), port.get_transform_func_bwd()
say(shapes=[forth(np.zeros(6)).shape, back(np.zeros((2, 3))).shape])
with warnings.catch_warnings(), netx_without_slayer():
    warnings.simplefilter("ignore")
    for again in range(2):
        hdf5 = netx_with_numbers()
import h5py
with h5py.File("a.net", "w", driver="core", backing_store=False) as file:
    for index, kind in enumerate(["input", "dense"]):
        file[f"{index}/type"], file[f"{index}/weight"] = np.array([kind], "S"), np.array([[64]])
    layers = hdf5.NetDict(f=file)
    say(shapes=[layers[index]["weight"].shape for index in range(2)])
"""
    )
    assert outcome.code == 0, outcome.stderr
    assert outcome.said == [{"shapes": [[2, 3], [6]]}, {"shapes": [[], [1, 1]]}]


@pytest.mark.lava
def test_models_are_looked_for_once_but_those_of_others_every_time(monkeypatch: pytest.MonkeyPatch):
    require_lava()
    from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs
    from lava.proc.lif.process import LIF

    class Others(LIF):
        pass

    find = ProcGroupDiGraphs._find_proc_models
    first = find(LIF(shape=(1,)))
    assert {model.implements_process for model in first} == {LIF}

    def look(*_: object) -> None:
        raise LookupError

    monkeypatch.setattr("pkgutil.iter_modules", look)
    assert find(LIF(shape=(2,))) == first
    with pytest.raises(LookupError):
        find(Others(shape=(1,)))
