"""Imports go one way, heavy packages stay in their rooms, and the command line starts light."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import neurodeploy
from neurodeploy.artifacts import names
from neurodeploy.cli import main

ROOT = Path(neurodeploy.__file__).parent

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("support",),
    ("farm", "target"),
    ("ir",),
    ("data", "mapping", "neurons", "recipe"),
    ("simulation",),
    ("nn",),
    ("interchange",),
    ("sparsity",),
    ("onchip", "rules"),
    ("quantization",),
    ("lava", "norse"),
    ("artifacts",),
    ("training",),
    ("reporting",),
    ("workflow",),
    ("api",),
    ("bench",),
    ("cli",),
    ("__main__",),
)
"""Every room from the ground up; a room imports from lower floors and from itself."""

LIGHT = ("errors", "support", "target", "ir", "data", "recipe", "artifacts")
"""Rooms of types and files, which are read without heavy packages."""

GRADIENTS = ("nn", "sparsity", "rules", "quantization", "training")
"""Rooms that torch's autograd works in."""

FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def files() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return module.split(".")[1]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def modules() -> frozenset[str]:
    return frozenset(map(module_of, files()))


@cache
def imports(path: Path) -> list[tuple[str, int]]:
    """Modules that a file imports anywhere, also inside functions, with their lines."""
    return list(imported(path))


def imported(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in modules() else str(node.module)), node.lineno


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT.parent)}:{line}"


def test_every_room_has_its_floor() -> None:
    rooms = {room_of(module_of(path)) for path in files()}
    assert {"cli", "lava", "simulation", "neurons", "data"} <= rooms
    assert rooms <= set(FLOOR_OF), "give a new room its floor here and in the README"


def test_imports_go_one_way() -> None:
    wrong = []
    for path in files():
        room = room_of(module_of(path))
        for name, line in imports(path):
            if not name.startswith("neurodeploy."):
                continue
            other = room_of(name)
            if other != room and FLOOR_OF[other] >= FLOOR_OF[room]:
                wrong.append(f"{place(path, line)}: {room} imports {other}")
    assert wrong == []


def test_no_module_imports_itself_by_a_detour() -> None:
    """Not even inside functions, where Python would let it pass."""
    graph: dict[str, set[str]] = {}
    for path in files():
        module = module_of(path)
        targets = {name for name, _ in imports(path) if name.startswith("neurodeploy.")}
        graph[module] = targets - {module}
    TopologicalSorter(graph).prepare()


def outside(*folders: str) -> list[Path]:
    return [path for path in files() if room_of(module_of(path)) not in folders]


@pytest.mark.parametrize(
    ("package", "room"),
    [
        ("lava", "lava"),
        ("norse", "norse"),
        ("dask", "farm"),
        ("distributed", "farm"),
        ("mlflow", "training"),
        ("wandb", "training"),
    ],
)
def test_an_optional_package_is_imported_in_its_room_only(package: str, room: str) -> None:
    def of_package(path: Path) -> list[str]:
        return [place(path, line) for name, line in imports(path) if name.split(".")[0] == package]

    assert [where for path in outside(room) for where in of_package(path)] == []
    assert any(of_package(path) for path in files())


AUTOGRAD = {"autograd", "requires_grad", "requires_grad_", "backward", "enable_grad"}


FOREIGN = {
    *("--no-deps", "--ignore-requires-python"),  # of pip
    *("--cpu", "--num_processes", "--mixed_precision"),  # of accelerate launch
    "--nproc_per_node",  # of torchrun
}
"""Options of other programs, which the library may have to name."""

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z_-]*")
COMMAND = re.compile(rf"(?<!-m )\bneurodeploy ({'|'.join(main.commands)})\b")


def own_options(path: Path) -> set[str]:
    """Options that a file defines itself: the script in a deployment is a program of its own."""
    return {
        argument.value
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "add_argument"
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


def command_line_words(path: Path) -> list[str]:
    """Options and commands in a file's strings, docstrings among them."""
    allowed = FOREIGN | own_options(path)
    return [
        f"{place(path, node.lineno)}: {word}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for word in (*OPTION.findall(node.value), *COMMAND.findall(node.value))
        if word not in allowed
    ]


def test_the_command_line_alone_names_its_options() -> None:
    library = outside("cli", "__main__")
    assert [words for path in library for words in command_line_words(path)] == []
    assert any(command_line_words(path) for path in files())


def uses_autograd(path: Path) -> list[str]:
    found = []
    for node in ast.walk(tree_of(path)):
        names: list[str] = []
        if isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.keyword) and node.arg:
            names = [node.arg]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            names = [*module.split("."), *(p for a in node.names for p in a.name.split("."))]
        if AUTOGRAD & set(names):
            line = getattr(node, "lineno", getattr(getattr(node, "value", None), "lineno", 0))
            found.append(place(path, line))
    return found


def test_gradients_are_taken_where_networks_learn_only() -> None:
    assert [where for path in outside(*GRADIENTS) for where in uses_autograd(path)] == []
    assert any(uses_autograd(path) for path in files())


def test_lower_rooms_load_neither_torch_nor_nir() -> None:
    """Types and files are read without them; torch comes with the first computation."""
    heavy = {"torch", "nir", "matplotlib", "sklearn"}
    top_level = []
    for path in files():
        if room_of(module_of(path)) not in LIGHT:
            continue
        for node in tree_of(path).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            top_level += [place(path, node.lineno) for n in names if n.split(".")[0] in heavy]
    assert top_level == []


def test_names_of_files_have_one_home() -> None:
    """But for the script that deployments hold a copy of, which has to do without us."""
    home, script = ROOT / "artifacts" / "names.py", ROOT / "lava" / names.NETX_SCRIPT
    known = {v for v in vars(names).values() if isinstance(v, str) and Path(v).suffix}
    assert {"run.json", "manifest.json", "network.nir", "report.html"} <= known
    found = [
        place(path, node.lineno)
        for path in files()
        if path not in (home, script)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and node.value in known
    ]
    assert found == []


@pytest.mark.parametrize(
    "statement",
    [
        "import neurodeploy.cli",
        "from neurodeploy.cli import main; main(['--help'], standalone_mode=False)",
        "from neurodeploy.cli import main; main(['targets'], standalone_mode=False)",
        "import neurodeploy.lava.compat",
        "import neurodeploy.norse.compat",
    ],
)
def test_the_command_line_starts_without_heavy_packages(statement: str) -> None:
    heavy = (
        "torch",
        "accelerate",
        "lava",
        "matplotlib",
        "sklearn",
        "scipy",
        "nir",
        "norse",
        "tensorboard",
        "distributed",
    )
    program = (
        f"import sys, json\n{statement}\n"
        f"print(json.dumps([name for name in {heavy!r} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []
