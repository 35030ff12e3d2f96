"""Targets: what ships is complete and sourced, and a bad file is refused by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from neurodeploy.errors import InputError
from neurodeploy.target import Figure, Widths, builtin_targets, load_target

TARGETS = Path(__file__).resolve().parent.parent / "targets"


def figures(table: Any, path: str = "") -> dict[str, Figure]:
    """Every figure in a target, by its dotted key."""
    if isinstance(table, Figure):
        return {path: table}
    found: dict[str, Figure] = {}
    if dataclasses.is_dataclass(table):
        for field in dataclasses.fields(table):
            found |= figures(getattr(table, field.name), f"{path}.{field.name}".lstrip("."))
    return found


def edited(tmp_path: Path, old: str, new: str) -> Path:
    """A copy of loihi1 with one change."""
    text = (TARGETS / "loihi1.toml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def test_built_in_targets_are_named_after_their_files() -> None:
    targets = builtin_targets()
    assert sorted(targets) == sorted(path.stem for path in TARGETS.glob("*.toml"))
    assert {"loihi1", "loihi2"} <= set(targets)
    assert all(target.name == name for name, target in targets.items())


@pytest.mark.parametrize("name", sorted(path.stem for path in TARGETS.glob("*.toml")))
def test_every_figure_has_a_source_and_a_quality(name: str) -> None:
    found = figures(load_target(name))
    assert len(found) > 20
    for key, figure in found.items():
        assert figure.source.strip(), key
        assert figure.quality in {"documented", "read", "secondary", "fitted", "assumed"}, key


def test_published_limits_of_loihi1() -> None:
    core = load_target("loihi1").core
    limits = core.neurons, core.input_axons, core.output_axons, core.synapse_words
    assert [limit and limit.value for limit in limits] == [1024, 4096, 4096, 16384]


def test_an_unpublished_limit_stays_open() -> None:
    assert load_target("loihi2").core.output_axons is None


def test_a_path_is_read_too(tmp_path: Path) -> None:
    path = edited(tmp_path, "neurons = { value = 1024", "neurons = { value = 7")
    target = load_target(path)
    assert (target.name, target.core.neurons.value) == ("mine", 7)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "\ninput_axons =",
            "\ninput_axon =",
            "mine.toml: core: unknown key 'input_axon'; did you mean 'input_axons'?",
        ),
        (
            "[spike]\npayload_bits = { value = 0, quality",
            "[spike]\npayload_bits = { value = 0, qualities",
            "mine.toml: spike: payload_bits: unknown key 'qualities'; did you mean 'quality'?",
        ),
        (
            'source = "Davies et al. 2018: binary spikes"',
            'source = " "',
            "mine.toml: spike: payload_bits: every figure needs its source, found an empty one",
        ),
        (
            'quality = "documented", source = "Davies et al. 2018: binary spikes"',
            'source = "Davies et al. 2018: binary spikes"',
            "mine.toml: spike: payload_bits: key 'quality' is missing",
        ),
        (
            'quality = "assumed"',
            'quality = "guessed"',
            "mine.toml: synapse: memory: shared_convolution: quality: 'guessed' is not one of "
            "'documented', 'read', 'secondary', 'fitted', 'assumed'",
        ),
        (
            "values = [1, 2, 3, 4, 5, 6, 8]",
            "values = []",
            "mine.toml: synapse: memory: weight_widths: widths are at least one positive number, "
            "found ()",
        ),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        load_target(edited(tmp_path, old, new))
    assert str(refused.value) == message


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(InputError) as refused:
        load_target("loihi3")
    assert str(refused.value).startswith("target 'loihi3' is not built in; did you mean 'loihi")


def test_widths_hold_what_fits() -> None:
    widths = Widths(source="a test", quality="assumed", values=(1, 6, 8))
    assert [widths.holding(bits) for bits in (1, 2, 6, 7, 8, 9)] == [1, 6, 6, 8, 8, 8]
