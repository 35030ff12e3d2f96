"""What we ship: the wheel's content, a machine without Lava, and the pinned versions.

The wheel is built from a copy of the tree, so that a stale build/ folder cannot feed it, and is
installed in a fresh environment that sees this one's dependencies with Lava taken away.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DATA_FOLDERS = ("models", "targets")
INSTALL_LAVA = "pip install --no-deps --ignore-requires-python lava-nc==0.10.0 lava-dl==0.6.0"
ABSENT = ("lava", "neurodeploy", "tests", "__editable__")
"""How the names begin that the fresh environment must not see; ``tests`` is in Lava's wheel."""


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing inherited that could lead it back to the source tree."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    env["PYTHONNOUSERSITE"] = "1"
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )


def succeed(*command: str | Path, cwd: Path) -> str:
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, f"{command} exited {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("wheel")
    tree = work / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("neurodeploy", "tests", *DATA_FOLDERS):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    succeed(
        *(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", work, tree),
        cwd=work,
    )
    (built,) = work.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs folder of an environment with the wheel and all dependencies except Lava."""
    home = tmp_path_factory.mktemp("bare")
    dependencies = home / "dependencies"
    dependencies.mkdir()
    for site in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(site).iterdir():
            if not entry.name.startswith(ABSENT) and entry.suffix != ".pth":
                (dependencies / entry.name).symlink_to(entry)
    environment = home / "venv"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    succeed(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
        *("--no-deps", "--no-index", wheel),
        cwd=home,
    )
    (site_packages,) = environment.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(f"{dependencies}\n")
    return environment / "bin"


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    version = PYPROJECT["project"]["version"]
    assert {name.split("/")[0] for name in names} == {
        "neurodeploy",
        f"neurodeploy-{version}.dist-info",
    }


def test_wheel_holds_every_module(wheel: Path) -> None:
    """A folder that lacks its ``__init__.py`` would be left out without a word."""
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    sources = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("neurodeploy/**/*.py")}
    assert shipped == sources | {f"neurodeploy/{folder}/__init__.py" for folder in DATA_FOLDERS}


@pytest.mark.parametrize("folder", DATA_FOLDERS)
def test_wheel_holds_every_toml(wheel: Path, folder: str) -> None:
    expected = {path.name for path in ROOT.glob(f"{folder}/*.toml")}
    prefix = f"neurodeploy/{folder}/"
    shipped = {
        name.removeprefix(prefix)
        for name in zipfile.ZipFile(wheel).namelist()
        if name.startswith(prefix) and name.endswith(".toml")
    }
    assert expected and shipped == expected


@pytest.mark.parametrize("folder", DATA_FOLDERS)
def test_tomls_are_found_where_neurodeploy_is_installed(folder: str) -> None:
    """Here, usually from an editable install: the folder beside the package stands in its place."""
    found = {entry.name for entry in files(f"neurodeploy.{folder}").iterdir()}
    assert {path.name for path in ROOT.glob(f"{folder}/*.toml")} <= found


@pytest.mark.parametrize("folder", DATA_FOLDERS)
def test_tomls_are_found_from_the_wheel(bare: Path, tmp_path: Path, folder: str) -> None:
    code = (
        "from importlib.resources import files;"
        f"print(*sorted(e.name for e in files('neurodeploy.{folder}').iterdir()))"
    )
    found = succeed(bare / "python", "-c", code, cwd=tmp_path).split()
    assert {path.name for path in ROOT.glob(f"{folder}/*.toml")} <= set(found)


def test_bare_environment_has_no_lava(bare: Path, tmp_path: Path) -> None:
    done = run(bare / "python", "-c", "import lava", cwd=tmp_path)
    assert done.returncode == 1
    assert "No module named 'lava'" in done.stderr


@pytest.mark.parametrize("command", ["--help", "targets", "models"])
def test_command_works_without_lava(bare: Path, tmp_path: Path, command: str) -> None:
    succeed(bare / "neurodeploy", command, cwd=tmp_path)


def test_simulate_without_lava_says_what_to_install(bare: Path, tmp_path: Path) -> None:
    done = run(bare / "neurodeploy", "simulate", "--engine", "lava", cwd=tmp_path)
    assert done.returncode == 2
    assert INSTALL_LAVA in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_without_lava_says_so_once_and_finds_no_fault(bare: Path, tmp_path: Path) -> None:
    said = succeed(bare / "neurodeploy", "doctor", cwd=tmp_path)
    assert said.count(INSTALL_LAVA) == 1
    assert re.search(r"lava-nc +missing +absent\n", said)
    assert re.search(r"To get lava-nc, lava-dl, lava, [a-z, -]*netx: Lava is not installed;", said)


def pins(python: str) -> dict[str, str]:
    """Exact versions of ``constraints.txt`` by name, as Linux with this Python reads it."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
        "os_name": "posix",
    }
    found: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        requirement = Requirement(line)
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", line
        if requirement.marker is None or requirement.marker.evaluate(environment):
            name = canonicalize_name(requirement.name)
            assert name not in found, f"{name} is pinned twice for Python {python}"
            found[name] = specifier.version
    return found


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_every_declared_dependency_is_pinned_within_its_bounds(python: str) -> None:
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"].values()
    declared = [*project["dependencies"], *itertools.chain.from_iterable(extras)]
    pinned = pins(python)
    for requirement in map(Requirement, declared):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} has no pin"
        assert requirement.specifier.contains(pinned[name]), f"{requirement}, pin {pinned[name]}"


def test_uv_and_pip_use_the_same_pytorch() -> None:
    assert PYPROJECT["tool"]["uv"]["constraint-dependencies"] == [f"torch=={pins('3.11')['torch']}"]
