"""No failure of a Lava process hangs the program or outlives it, and each is named."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable
from functools import partial

import pytest

from support.lava_program import SAY, needs_proc, to_group, to_program
from support.lava_program import run as run_program
from support.patience import patience
from support.quick import quick

pytestmark = [pytest.mark.lava, needs_proc]
FAULTY = "support.lava_faulty.chain"

PRELUDE = (
    SAY
    + """
import gc, os, signal, sys, threading, time, warnings
from pathlib import Path
from neurodeploy.errors import SimulationError
from neurodeploy.lava.compat import require_lava
from neurodeploy.lava.runtime import GuardedRuntime
require_lava()
from support.lava_faulty.chain import RUN_CONFIG, chain
warnings.simplefilter("error")
# A shell that runs tests in the background has them ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)

def children():
    path = Path("/proc/self/task/%d/children" % threading.get_native_id())
    return sorted(map(int, path.read_text().split()))
"""
)

IN_TURNS = """
from functools import partial
GuardedRuntime = partial(GuardedRuntime, in_turns=True)
"""

run = partial(run_program, prelude=PRELUDE)
run_in_turns = partial(run_program, prelude=PRELUDE + IN_TURNS)

EITHER = [pytest.param(run, id="processes"), pytest.param(run_in_turns, id="turns")]
"""Programs whose Lava processes are processes of the system, or take turns in one."""

EITHER_OR_SLOW = [EITHER[0], pytest.param(run_in_turns, id="turns", marks=pytest.mark.slow)]


@pytest.mark.parametrize("run", EITHER)
def test_runs_continue_each_other_in_the_same_processes(run: Callable):
    outcome = run("""
sink = chain()
with GuardedRuntime(sink, RUN_CONFIG, timeout=50) as runtime:
    say(processes=children(), total=sink.total.get().tolist())
    for steps in (1, 4, 8):
        runtime.run(steps)
        say(processes=children(), total=sink.total.get().tolist())
    sink.total.set(sink.total.get() + 100)
    runtime.run(1)
    say(processes=children(), total=sink.total.get().tolist())
say(processes=children(), threads=threading.active_count(),
    sigterm=signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
""")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert [said.get("total") for said in outcome.said] == [
        [0] * 4,
        [1] * 4,
        [5] * 4,
        [13] * 4,
        [114] * 4,
        None,
    ]
    started = outcome.said[0]["processes"]
    # Three processes and Lava's service, or one of all; no manager, no tracker.
    assert len(started) == (1 if run is run_in_turns else 4)
    assert all(said["processes"] == started for said in outcome.said[:-1])
    assert outcome.said[-1] == {"processes": [], "threads": 1, "sigterm": True}
    outcome.assert_nothing_left()


@pytest.mark.parametrize("run", EITHER)
def test_a_program_can_run_one_network_after_another_and_two_at_once(run: Callable):
    outcome = run("""
with GuardedRuntime(chain(), RUN_CONFIG) as runtime:
    runtime.run(2)
a, b = chain(), chain(relays=3)
with GuardedRuntime(a, RUN_CONFIG) as first, GuardedRuntime(b, RUN_CONFIG) as second:
    first.run(2); second.run(3); first.run(2)
    say(a=a.total.get().tolist(), b=b.total.get().tolist())
say(processes=children())
""")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.said == [{"a": [4] * 4, "b": [3] * 4}, {"processes": []}]
    outcome.assert_nothing_left()


@pytest.mark.parametrize("run", EITHER_OR_SLOW)
def test_a_network_that_has_ended_leaves_no_memory_files_or_processes_of_lava(run: Callable):
    outcome = run("""
import weakref
def held():
    maps = Path("/proc/self/maps").read_text().count("\\n")
    return [maps, len(list(Path("/proc/self/fd").iterdir())), threading.active_count()]
for number in range(4):
    sink = chain()
    reference = weakref.ref(sink)
    with GuardedRuntime(sink, RUN_CONFIG) as runtime:
        runtime.run(2)
    del sink, runtime
    gc.collect()
    say(held=held(), collected=reference() is None)
""")
    assert (outcome.code, outcome.stderr) == (0, "")
    # The first network loads libraries that stay.
    assert all(said["held"] == outcome.said[1]["held"] for said in outcome.said[1:])
    assert all(said["collected"] for said in outcome.said)


def test_processes_forked_beside_torch_and_its_threads_run():
    pytest.importorskip("torch")
    outcome = run(
        """
with GuardedRuntime(chain(), RUN_CONFIG, timeout=50) as runtime:
    runtime.run(8)
torch.randn(300, 300) @ torch.randn(300, 300)
say(done=True)
""",
        prelude="import torch; torch.randn(300, 300) @ torch.randn(300, 300)" + PRELUDE,
    )
    assert (outcome.code, outcome.stderr, outcome.said) == (0, "", [{"done": True}])
    outcome.assert_nothing_left()


def test_injected_data_arrives_and_its_port_thread_ends():
    outcome = run("""
import numpy as np
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.injector import Injector, PyLoihiInjectorModel
from support.lava_faulty.chain import PySink, Sink
injector, sink = Injector(shape=(4,)), Sink(name="last")
injector.out_port.connect(sink.inp)
models = {Injector: PyLoihiInjectorModel, Sink: PySink}
with GuardedRuntime(sink, Loihi2SimCfg(exception_proc_model_map=models)) as runtime:
    injector.send(np.arange(4)); injector.send(np.arange(4))
    runtime.run(2)
    say(total=sink.total.get().tolist())
say(threads=threading.active_count())
""")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.said == [{"total": [0, 2, 4, 6]}, {"threads": 1}]
    outcome.assert_nothing_left()


def test_two_domains_with_a_service_each_take_turns():
    outcome = run_in_turns("""
import numpy as np
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.core.sync.domain import SyncDomain
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from support.lava_faulty.chain import PyRelay, PySink, PySource, Relay, Sink, Source
first, last = Source(name="first"), Sink(name="last")
first.out.connect(last.inp)
domains = [
    SyncDomain(f"domain {process.name}", LoihiProtocol(), [process]) for process in (first, last)
]
models = {Source: PySource, Sink: PySink}
config = Loihi2SimCfg(custom_sync_domains=domains, exception_proc_model_map=models)
with GuardedRuntime(last, config, timeout=50) as runtime:
    runtime.run(3)
    say(total=last.total.get().tolist())
    runtime.run(2)
    say(total=last.total.get().tolist())
""")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.said == [{"total": [3] * 4}, {"total": [5] * 4}]
    outcome.assert_nothing_left()


# ---- the runtime: a process fails

FAILURES = """
for where in {where}:
    start = time.monotonic()
    sink = chain(where, {fault!r}, {at})
    try:
        with GuardedRuntime(sink, RUN_CONFIG, timeout={timeout}) as runtime:
            runtime.run(2)
            if {at} != -1:
                runtime.run(5)
        say(error=None, seconds=time.monotonic() - start, processes=children())
    except SimulationError as error:
        say(error=str(error), seconds=time.monotonic() - start, processes=children())
"""

ALL_OF_THEM = "the one process of 3 Lava processes and their service"
MODELS = {"first": "PySource", "middle": "PyRelay", "last": "PySink"}


@pytest.mark.parametrize("run", EITHER)
@pytest.mark.parametrize(
    ("fault", "at", "message"),
    [
        ("raise", 4, "failed: ValueError: boom"),
        ("raise", 0, "could not be built: ValueError: boom"),
        (
            "raise unpicklable",
            4,
            "failed: support.lava_faulty.chain.UnpicklableError: boom in here",
        ),
        pytest.param(
            "raise unpicklable",
            0,
            "could not be built: support.lava_faulty.chain.UnpicklableError",
            marks=pytest.mark.slow,
        ),
        ("sys.exit", 4, "failed: SystemExit: boom"),
        ("os._exit", 4, "ended prematurely, without an exception (exit code 3)"),
        pytest.param(
            "os._exit",
            0,
            "ended prematurely, without an exception (exit code 3)",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_failing_process_is_named_with_its_traceback(
    fault: str, at: int, message: str, run: Callable
):
    outcome = run(FAILURES.format(where=list(MODELS), fault=fault, at=at, timeout=50))
    assert (outcome.code, outcome.stderr) == (0, "")  # the one message, and nothing of Lava's
    assert len(outcome.said) == 3
    for said, (where, model) in zip(outcome.said, MODELS.items(), strict=True):
        named = f"Lava process {where!r} ({model})"
        if run is run_in_turns and fault == "os._exit":
            named = ALL_OF_THEM
        assert said["error"].startswith(f"{named} {message}")
        if fault != "os._exit":
            assert "Traceback (most recent call last)" in said["error"]
            assert "in misbehave" in said["error"]
        assert said["error"].count("Lava process ") == (named != ALL_OF_THEM)
        assert said["seconds"] < 5 * patience()
        assert said["processes"] == []
    outcome.assert_nothing_left()


@pytest.mark.parametrize("run", EITHER)
@pytest.mark.parametrize(
    ("fault", "at"), quick([("sleep", 4), ("spin", 4), ("sleep", 0)], ("sleep", 4), ("sleep", 0))
)
def test_the_time_limit_ends_a_process_that_never_answers(fault: str, at: int, run: Callable):
    outcome = run(FAILURES.format(where=["middle"], fault=fault, at=at, timeout=1.5))
    assert (outcome.code, outcome.stderr) == (0, "")
    [said] = outcome.said
    assert "exceeded its time limit of 1.5 s" in said["error"]
    assert 1.4 < said["seconds"] < 5 * patience()
    assert said["processes"] == []
    outcome.assert_nothing_left()


@pytest.mark.parametrize("run", EITHER)
@pytest.mark.parametrize("fault", quick(["raise", "os._exit", "sleep"], "raise", "sleep"))
def test_a_process_that_fails_while_being_stopped_delays_the_end_by_seconds_at_most(
    fault: str, run: Callable
):
    outcome = run(FAILURES.format(where=["middle"], fault=fault, at=-1, timeout=50))
    assert (outcome.code, outcome.stderr) == (0, "")
    [said] = outcome.said
    assert (said["error"], said["processes"]) == (None, [])
    assert said["seconds"] < 5 * patience()
    outcome.assert_nothing_left()


@pytest.mark.parametrize("run", EITHER)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_killed_from_outside_is_an_error_in_every_call(
    number: signal.Signals, run: Callable
):
    outcome = run(f"""
import numpy as np
for call in ("run", "get", "set", "exit"):
    sink = chain()
    try:
        with GuardedRuntime(sink, RUN_CONFIG, timeout=50) as runtime:
            runtime.run(1)
            for process in children():
                os.kill(process, signal.{number.name})
            if call == "run": runtime.run(2)
            if call == "get": sink.total.get()
            if call == "set": sink.total.set(np.zeros(4))
        say(error=None, processes=children())
    except SimulationError as error:
        say(error=str(error), processes=children())
""")
    assert (outcome.code, outcome.stderr) == (0, "")
    *errors, at_exit = outcome.said
    assert len(errors) == 3
    assert at_exit == {"error": None, "processes": []}
    for said in errors:
        # All were killed; the first look need not find all of them dead.
        actor = (
            ALL_OF_THEM
            if run is run_in_turns
            else r"Lava( process '\w+' \(Py\w+\)|'s runtime service)"
        )
        assert re.match(f"{actor} was ended by {number.name}", said["error"])
        assert ("memory" in said["error"]) == (number == signal.SIGKILL)
        assert said["processes"] == []
    assert outcome.seconds < 20 * patience()
    outcome.assert_nothing_left()


def test_a_network_that_lava_cannot_compile_is_an_error():
    outcome = run("""
from lava.magma.core.run_configs import Loihi2SimCfg
from support.lava_faulty.chain import Sink
sink = chain()
try:
    with GuardedRuntime(sink, Loihi2SimCfg(exception_proc_model_map={Sink: int})):
        pass
except SimulationError as error:
    say(error=str(error), cause=repr(error.__cause__), processes=children())
""")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.said[0]["error"].startswith("Lava cannot build the network of process 'last'")
    assert outcome.said[0]["cause"] != "None"
    assert outcome.said[0]["processes"] == []
    outcome.assert_nothing_left()


# ---- the runtime: the program is interrupted


def test_an_exception_of_the_programs_own_passes_through_and_ends_the_processes():
    outcome = run("""
sink = chain()
runtime = GuardedRuntime(sink, RUN_CONFIG)
try:
    with runtime:
        runtime.run(2)
        raise KeyError("mine")
except KeyError as error:
    say(error=str(error), processes=children())
for use in (lambda: runtime.run(1), sink.total.get, runtime.__enter__):
    try:
        use()
    except SimulationError as error:
        say(error=str(error))
runtime.close()
""")
    assert (outcome.code, outcome.stderr) == (0, "")
    own, run_after, get_after, enter_after = outcome.said
    assert own == {"error": "'mine'", "processes": []}
    assert "has ended" in run_after["error"]
    assert "has ended" in get_after["error"]
    assert "make a new one" in enter_after["error"]
    outcome.assert_nothing_left()


@pytest.mark.parametrize("run", EITHER_OR_SLOW)
def test_a_process_that_asks_to_stop_before_the_last_step_is_an_error(run: Callable):
    outcome = run(FAILURES.format(where=["middle"], fault="ask to stop", at=4, timeout=50))
    assert (outcome.code, outcome.stderr) == (0, "")
    [said] = outcome.said
    assert "asked for a pause or a stop before the last step" in said["error"]
    assert said["seconds"] < 5 * patience()
    outcome.assert_nothing_left()


INTERRUPTED = """
sink = chain({where!r}, {fault!r}, {at})
try:
    runtime = GuardedRuntime(sink, RUN_CONFIG)
    say(ready=True)
    with runtime:
        runtime.run(5)
        time.sleep(60)
except BaseException as error:
    say(error=type(error).__name__, processes=children())
    raise
"""

SITUATIONS = [
    pytest.param("middle", "sleep", 3, id="in a step"),
    pytest.param("last", "spin", 0, id="while building"),
    pytest.param(None, None, 1, id="between runs"),
]
FIRST_SITUATION_AND_SLOW_OTHERS = [
    SITUATIONS[0],
    *(pytest.param(*s.values, id=s.id, marks=pytest.mark.slow) for s in SITUATIONS[1:]),
]


@pytest.mark.parametrize("run", EITHER)
@pytest.mark.parametrize(("where", "fault", "at"), SITUATIONS)
def test_ctrl_c_ends_everything_without_a_word_from_the_processes(
    where: str | None, fault: str | None, at: int, run: Callable
):
    outcome = run(
        INTERRUPTED.format(where=where, fault=fault, at=at), disturb=to_group(signal.SIGINT)
    )
    assert outcome.said[1:] == [{"error": "KeyboardInterrupt", "processes": []}]
    assert outcome.stderr.count("Traceback") == 1  # the program's own
    assert "Process" not in outcome.stderr
    assert outcome.seconds < 5 * patience()
    outcome.assert_nothing_left()


@pytest.mark.parametrize("run", EITHER_OR_SLOW)
@pytest.mark.parametrize(("where", "fault", "at"), FIRST_SITUATION_AND_SLOW_OTHERS)
@pytest.mark.parametrize("send", [to_program, pytest.param(to_group, marks=pytest.mark.slow)])
def test_sigterm_ends_everything_and_exits_with_143(
    send: Callable, where: str | None, fault: str | None, at: int, run: Callable
):
    outcome = run(INTERRUPTED.format(where=where, fault=fault, at=at), disturb=send(signal.SIGTERM))
    assert outcome.code == 143
    # SIGTERM to the group kills the actors too, and their death may be seen first.
    assert outcome.said[1]["error"] in ("SystemExit", "SimulationError")
    assert outcome.said[1]["processes"] == []
    assert outcome.seconds < 5 * patience()
    outcome.assert_nothing_left()


@pytest.mark.parametrize("run", EITHER_OR_SLOW)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of the death")
@pytest.mark.parametrize(("where", "fault", "at"), FIRST_SITUATION_AND_SLOW_OTHERS)
def test_the_processes_of_a_killed_program_die_with_it(
    where: str | None, fault: str | None, at: int, run: Callable
):
    outcome = run(
        INTERRUPTED.format(where=where, fault=fault, at=at), disturb=to_program(signal.SIGKILL)
    )
    assert outcome.code == -signal.SIGKILL
    assert outcome.stderr == ""
    outcome.assert_nothing_left()


@pytest.mark.parametrize("run", EITHER)
@pytest.mark.parametrize("fault", [None, "sleep"])
def test_a_forgotten_exit_hangs_neither_the_collection_nor_the_interpreter(
    fault: str | None, run: Callable
):
    outcome = run(f"""
dropped, kept = chain(), chain("middle", {fault!r}, -1)
runtime = GuardedRuntime(dropped, RUN_CONFIG)
runtime.__enter__().run(2)
say(processes=len(children()))
del runtime
gc.collect()
say(processes=len(children()))
forgotten = GuardedRuntime(kept, RUN_CONFIG).__enter__()
forgotten.run(2)
say(processes=len(children()))
""")
    assert (outcome.code, outcome.stderr) == (0, "")
    some = 1 if run is run_in_turns else 4
    assert outcome.said == [{"processes": some}, {"processes": 0}, {"processes": some}]
    outcome.assert_nothing_left()


def test_a_handler_of_the_programs_own_for_sigterm_stays():
    outcome = run("""
def mine(number, frame):
    say(handled=number)
signal.signal(signal.SIGTERM, mine)
with GuardedRuntime(chain(), RUN_CONFIG) as runtime:
    os.kill(os.getpid(), signal.SIGTERM)
    runtime.run(2)
say(still=signal.getsignal(signal.SIGTERM) is mine)
""")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.said == [{"handled": 15}, {"still": True}]
    outcome.assert_nothing_left()


def test_a_network_runs_in_a_thread_and_its_processes_ignore_ctrl_c():
    outcome = run("""
def work():
    sink = chain()
    with GuardedRuntime(sink, RUN_CONFIG) as runtime:
        for process in children():
            os.kill(process, signal.SIGINT)
        runtime.run(3)
        say(total=sink.total.get().tolist())
thread = threading.Thread(target=work)
thread.start(); thread.join()
say(threads=threading.active_count())
""")
    assert outcome.code == 0, outcome.stderr
    assert outcome.said == [{"total": [3] * 4}, {"threads": 1}]
    outcome.assert_nothing_left()
