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
            'quality = "assumed", source = "not counted on',
            'quality = "guessed", source = "not counted on',
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


def extending(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_target_can_extend_another_one(tmp_path: Path) -> None:
    base = load_target("loihi2")
    path = extending(
        tmp_path,
        'extends = "loihi2"\ndescription = "two chips"\n'
        '[chip]\nchips = { value = 2, quality = "assumed", source = "a desk" }\n',
    )
    mine = load_target(path)
    assert (mine.name, mine.description) == ("mine", "two chips")
    assert mine.chip.chips.value == 2 and mine.chip.chips.source == "a desk"
    assert dataclasses.replace(mine.chip, chips=base.chip.chips) == base.chip
    assert (mine.core, mine.synapse, mine.neuron) == (base.core, base.synapse, base.neuron)


def test_a_new_value_needs_its_own_source(tmp_path: Path) -> None:
    path = extending(
        tmp_path, 'extends = "loihi2"\ndescription = "x"\n[chip]\nchips = { value = 2 }\n'
    )
    with pytest.raises(InputError, match=r"keys are missing: chip\.chips\.source"):
        load_target(path)


def test_targets_cannot_extend_each_other_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "b.toml"\n')
    (tmp_path / "b.toml").write_text('extends = "a.toml"\n')
    with pytest.raises(InputError, match=r"circle \(a.toml -> b.toml -> a.toml\)"):
        load_target(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("name", "chips", "cores"), [("kapoho-point", 8, 128 * 8), ("hala-point", 1152, 140_544)]
)
def test_systems_of_loihi2_chips(name: str, chips: int, cores: int) -> None:
    target, chip = load_target(name), load_target("loihi2")
    assert target.chip.chips.value == chips
    assert target.chip.chips.value * target.chip.cores.value == cores
    assert (target.core, target.synapse, target.spike) == (chip.core, chip.synapse, chip.spike)


def test_energies_of_loihi2_say_that_they_are_loihi1s() -> None:
    one, two = load_target("loihi1").energy, load_target("loihi2").energy
    assert one and two
    for field in dataclasses.fields(two):
        assert getattr(two, field.name).value == getattr(one, field.name).value
        assert getattr(two, field.name).source.startswith("Loihi 1: ")
        assert getattr(two, field.name).quality == "assumed"


# --- ranges ---


@pytest.mark.parametrize(
    "place, name, value, limits",
    [
        ("synapse", "weight_bits", 9, "from 1 to 8"),
        ("synapse", "weight_bits", 0, "from 1 to 8"),
        ("synapse", "weight_exponent_max", 40, "from -16 to 16"),
        ("synapse", "weight_exponent_min", 9, "weight_exponent_min 9 is above"),
        ("synapse", "delay_max", -1, "from 0 to 65536"),
        ("synapse.memory", "word_bits", 0, "from 1 to 4096"),
        ("synapse.memory", "row_entries", 0, "from 1 to 2147483647"),
        ("synapse.memory", "sparse_entry_bits", 2**60, "from 0 to 64"),
        ("neuron", "threshold_bits", 18, "from 1 to 17"),
        ("neuron", "bias_mantissa_bits", 1, "from 2 to 24"),
        ("neuron", "bias_exponent_max", -1, "from 0 to 16"),
        ("neuron", "decay_bits", 13, "from 1 to 12"),
        ("core", "neurons", 0, "from 1 to 2147483647"),
        ("core", "input_axons", -5, "from 1 to 2147483647"),
        ("chip", "cores", 2**40, "from 1 to 1048576"),
        ("spike", "payload_bits", 33, "from 0 to 32"),
        ("energy", "synaptic_op", 1e300, "energies and times end at 1e"),
    ],
)
def test_limits_that_no_chip_has(
    tmp_path: Path, place: str, name: str, value: float, limits: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "loihi2"\ndescription = "odd"\n'
        f'[{place}]\n{name} = {{ value = {value}, quality = "assumed", source = "a test" }}\n'
    )
    with pytest.raises(InputError, match=f"mine.toml: {place.replace('.', ': ')}: .*{limits}"):
        load_target(path)
