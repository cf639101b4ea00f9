"""Problem files: strict reading, the tiny overlay, overrides, and the files that ship."""

import math
import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnbench import identity
from bnbench.cli.options import SIZES
from bnbench.components.architectures import ARCHITECTURES, Conv, Dense, slot_names, slot_places, trace
from bnbench.components.placements import parse_placement
from bnbench.components.variants import expand_variants
from bnbench.errors import UserError
from bnbench.identity import hashed
from bnbench.plan import DataFacts, expand_grid
from bnbench.problem import (
    OVERLAYS,
    DeepOBSSource,
    RunsSource,
    Size,
    Target,
    Training,
    find_problem,
    find_problems,
    parse_override,
    problem_files,
    read_problem,
    settable_keys,
)
from bnbench.shipped import shipped_folder

SMALL = """
summary = "a test's own"
source = "this test"
dataset = "digits"
architecture = "3c3d"
width = 0.5
placements = ["hidden", "first"]
seeds = [1, 2, 3]
split_seed = 7

[training]
batch_size = 32
epochs = 5
learning_rate = 0.1
l2 = 0.002

[augmentation]
crop_padding = 2

[snapshots]
schedule = "every:5"

[[targets]]
metric = "accuracy"
split = "test"
level = 0.5

[targets.source]
run_ids = ["digits_3c3d-vanilla-none-s1-0123456789ab"]
commit = "0123abc"
statistic = "median"

[tiny]
width = 0.125

[tiny.training]
epochs = 2
"""
DEEPOBS = """[targets.source]
deepobs = "873bbc2"
problem = "cifar10_3c3d"
optimizer = "sgd"
learning_rate = 0.1
epoch = 100
seeds = [42]
statistic = "mean"
"""
WITH_DEEPOBS = SMALL[: SMALL.index("[targets.source]")] + DEEPOBS + SMALL[SMALL.index("\n[tiny]") :]


@pytest.fixture
def read(tmp_path):
    """Read a problem file of this text, from a folder of its own."""

    def reader(text, name="mine.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return read_problem(path)

    return reader


def changed(old, new, text=SMALL):
    assert text.count(old) == 1, old
    return text.replace(old, new)


def refusal(read, text, name="mine.toml"):
    with pytest.raises(UserError) as caught:
        read(text, name)
    return str(caught.value)


def test_a_file_becomes_a_problem_at_both_sizes(read):
    file = read(SMALL)
    full, tiny = file.problem(), file.problem("tiny")
    assert (full.name, full.size, tiny.name, tiny.size) == ("mine", "full", "mine", "tiny")
    assert (full.width, tiny.width) == (0.5, 0.125)
    assert hashed(full.training) == {
        "batch_size": 32, "epochs": 5, "learning_rate": 0.1, "l2": 0.002, "momentum": 0.0,
        "population_statistics": False,
    }  # fmt: skip
    assert tiny.training == full.training.model_copy(update={"epochs": 2})
    assert (tiny.augmentation, tiny.snapshots, tiny.seeds) == (full.augmentation, full.snapshots, (1, 2, 3))
    assert full.augmentation.crop_padding == 2
    assert full.placements == ("hidden", "first")


def test_targets_of_the_full_size_say_nothing_about_the_tiny_one(read):
    file = read(SMALL)
    assert [target.level for target in file.problem().targets] == [0.5]
    assert file.problem("tiny").targets == ()


def test_both_kinds_of_source(read):
    assert isinstance(read(SMALL).problem().targets[0].source, RunsSource)
    source = read(WITH_DEEPOBS).problem().targets[0].source
    assert isinstance(source, DeepOBSSource)
    assert source.seeds == (42,)


def test_a_target_is_reached_from_the_right_side(read):
    target = read(SMALL).problem().targets[0]
    assert [target.reached(value) for value in (0.49, 0.5, 0.51, math.nan)] == [False, True, True, False]
    loss = Target(metric="loss", split="test", level=0.5, source=target.source)
    assert [loss.reached(value) for value in (0.49, 0.5, 0.51, math.nan, math.inf)] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("old", "new", "key", "nearest"),
    [("epochs = 5", "epoch = 5", "training.epoch", "epochs"),
     ("[training]", "[trainning]", "trainning", "training"),
     ("crop_padding", "crop_pading", "augmentation.crop_pading", "crop_padding"),
     ("schedule", "shedule", "snapshots.shedule", "schedule"),
     ("split_seed", "splitseed", "splitseed", "split_seed"),
     ("[tiny]", "[tinny]", "tinny", "tiny"),
     ("level", "levels", "targets.0.levels", "level"),
     ("run_ids", "run_id", "targets.0.source.run_id", "run_ids"),
     ("epochs = 2", "epoch = 2", "training.epoch", "epochs")],
)  # fmt: skip
def test_an_unknown_key_is_refused_with_the_nearest_known_one(read, old, new, key, nearest):
    text = changed("[tiny.training]", "[tinny.training]", changed(old, new)) if old == "[tiny]" else changed(old, new)
    message = refusal(read, text)
    assert f"mine.toml{' with [tiny]' if old == 'epochs = 2' else ''}: unknown key '{key}'. " in message
    assert f"Did you mean '{nearest}'? Known keys here: " in message


def test_an_unlike_key_is_refused_with_all_keys(read):
    message = refusal(read, changed("epochs = 5", "zzz = 5\nepochs = 5"))
    assert message.endswith(
        f"mine.toml: unknown key 'training.zzz'. Known keys here: {', '.join(Training.model_fields)}."
    )


def test_a_mistake_in_a_source_gets_the_message_of_its_own_kind_alone(read):
    message = refusal(read, changed("epoch = 100", "epochs = 100", WITH_DEEPOBS))
    assert sorted(line.partition("mine.toml: ")[2] for line in message.splitlines()) == [
        "the key 'targets.0.source.epoch' is missing.",
        "unknown key 'targets.0.source.epochs'. Did you mean 'epoch'? Known keys here: deepobs, problem, optimizer, "
        "learning_rate, epoch, seeds, statistic.",
    ]


@pytest.mark.parametrize(
    ("old", "new", "key", "reason"),
    [("batch_size = 32", 'batch_size = "32"', "training.batch_size = '32'", "valid integer"),
     ("batch_size = 32", "batch_size = 32.0", "training.batch_size = 32.0", "valid integer"),
     ("batch_size = 32", "batch_size = true", "training.batch_size = True", "valid integer"),
     ("batch_size = 32", "batch_size = 1", "training.batch_size = 1", "greater than or equal to 2"),
     ("epochs = 5", "epochs = 0", "training.epochs = 0", "greater than or equal to 1"),
     ("epochs = 5", "epochs = -3", "training.epochs = -3", "greater than or equal to 1"),
     ("learning_rate = 0.1", "learning_rate = 0", "training.learning_rate = 0", "greater than 0"),
     ("learning_rate = 0.1", "learning_rate = nan", "training.learning_rate = nan", "finite number"),
     ("learning_rate = 0.1", "learning_rate = inf", "training.learning_rate = inf", "finite number"),
     ("l2 = 0.002", "l2 = -0.002", "training.l2 = -0.002", "greater than or equal to 0"),
     ("l2 = 0.002", "momentum = 1.0", "training.momentum = 1.0", "less than 1"),
     ("l2 = 0.002", "population_statistics = 1", "training.population_statistics = 1", "valid boolean"),
     ("crop_padding = 2", "crop_padding = 17", "augmentation.crop_padding = 17", "less than or equal to 16"),
     ("crop_padding = 2", "horizontal_flip = 1.5", "augmentation.horizontal_flip = 1.5", "less than or equal to 1"),
     ("every:5", "each:5", "snapshots.schedule = 'each:5'", "every:N"),
     ("width = 0.5", "width = 0", "width = 0", "greater than 0"),
     ("seeds = [1, 2, 3]", "seeds = []", "seeds = []", "at least 1 item"),
     ("seeds = [1, 2, 3]", "seeds = 1", "seeds = 1", "valid tuple"),
     ("seeds = [1, 2, 3]", "seeds = [1, -2]", "seeds.1 = -2", "greater than or equal to 0"),
     ("seeds = [1, 2, 3]", "seeds = [9223372036854775808]", "seeds.0 = 9223372036854775808", "less than"),
     ("split_seed = 7", "split_seed = -7", "split_seed = -7", "greater than or equal to 0"),
     ("split_seed = 7", 'split_seed = "7"', "split_seed = '7'", "valid integer"),
     ('summary = "a test\'s own"', "summary = 3", "summary = 3", "valid string"),
     ('metric = "accuracy"', 'metric = "speed"', "targets.0.metric = 'speed'", "'loss' or 'accuracy'"),
     ('split = "test"', 'split = "train"', "targets.0.split = 'train'", "'train_eval', 'valid' or 'test'"),
     ('commit = "0123abc"', 'commit = "main"', "targets.0.source.commit = 'main'", "pattern"),
     ("width = 0.125", 'width = "narrow"', "width = 'narrow'", "valid number"),
     ("epochs = 2", "epochs = 0", "training.epochs = 0", "greater than or equal to 1")],
)  # fmt: skip
def test_a_wrong_type_or_an_impossible_value_is_refused_with_file_key_and_reason(read, old, new, key, reason):
    message = refusal(read, changed(old, new))
    overlay = " with [tiny]" if old in {"width = 0.125", "epochs = 2"} else ""
    assert f"mine.toml{overlay}: {key}: " in message
    assert reason in message


@pytest.mark.parametrize(
    ("line", "key"),
    [("batch_size = 32", "training.batch_size"), ("epochs = 5", "training.epochs"),
     ("learning_rate = 0.1", "training.learning_rate"), ('dataset = "digits"', "dataset"),
     ('architecture = "3c3d"', "architecture"), ('source = "this test"', "source"), ("seeds = [1, 2, 3]", "seeds"),
     ("split_seed = 7", "split_seed"), ('placements = ["hidden", "first"]', "placements"),
     ("level = 0.5", "targets.0.level"), ('commit = "0123abc"', "targets.0.source.commit")],
)  # fmt: skip
def test_a_missing_key_is_named(read, line, key):
    assert f"mine.toml: the key '{key}' is missing." in refusal(read, changed(f"{line}\n", ""))


def test_a_target_without_a_source_is_no_target(read):
    text = SMALL[: SMALL.index("[targets.source]")] + SMALL[SMALL.index("\n[tiny]") :]
    assert "the key 'targets.0.source' is missing." in refusal(read, text)


@pytest.mark.parametrize(
    ("text", "key"),
    [('name = "other"\n' + SMALL, "name"), ('size = "tiny"\n' + SMALL, "size"),
     (SMALL.replace("[tiny]\n", '[tiny]\nname = "other"\n'), "tiny.name")],
)  # fmt: skip
def test_a_file_does_not_name_itself(read, text, key):
    message = refusal(read, text)
    assert f"unknown key '{key}'" in message
    assert "A problem's name is its file's" in message


def test_every_mistake_is_reported_at_once(read):
    message = refusal(read, changed("epochs = 5", "epoch = 5", changed("l2 = 0.002", "l2 = -1")))
    assert len(message.splitlines()) == 3
    for mistake in ("unknown key 'training.epoch'.", "the key 'training.epochs' is missing.", "training.l2 = -1: "):
        assert message.count(f"mine.toml: {mistake}") == 1


def test_malformed_toml_is_refused_with_its_place(read):
    assert "mine.toml: is not valid TOML: " in refusal(read, SMALL + "\n[training\n")
    assert "line" in refusal(read, SMALL + "\n[training\n")
    assert "is not valid TOML" in refusal(read, changed("epochs = 5", "epochs = 5\nepochs = 6"))


def test_a_file_that_is_not_text_or_not_there_is_refused(tmp_path):
    (tmp_path / "bytes.toml").write_bytes(b"summary = '\xff'")
    with pytest.raises(UserError, match=r"bytes.toml: is not UTF-8 text: .* at byte 11"):
        read_problem(tmp_path / "bytes.toml")
    with pytest.raises(UserError, match=r"absent.toml: cannot be read: No such file"):
        read_problem(tmp_path / "absent.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UserError, match=r"folder.toml: cannot be read: "):
        find_problem(str(tmp_path / "folder.toml"))


@pytest.mark.parametrize(
    "name", ["Mine.toml", "my-problem.toml", "2d.toml", "my problem.toml", "<b>.toml", "ä.toml", f"{'a' * 65}.toml"]
)
def test_a_name_that_is_not_a_plain_identifier_is_refused(read, name):
    message = refusal(read, SMALL, name)
    assert "cannot be a problem's name" in message
    assert "lower-case letters, digits and underscores" in message


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [('architecture = "3c3d"', 'architecture = "3c3"',
      ["unknown architecture '3c3'. Did you mean '3c3d'?", "allcnnc", "mlp"]),
     ('["hidden", "first"]', '["hidden", "conv9"]', ["placement 'conv9' does not fit", "conv1 conv2 conv3 dense1"]),
     ('["hidden", "first"]', '["first:7"]', ["'first:7' does not fit: here the K of first:K is a number from 1 to 6"]),
     ('["hidden", "first"]', '["hidden", "111110"]', ["placements: two of hidden, 111110 are the same placement"]),
     ('["hidden", "first"]', "[]", ["placements = []", "at least 1 item"]),
     ("seeds = [1, 2, 3]", "seeds = [1, 2, 1]", ["seeds: a seed is listed twice"])],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(read, old, new, reasons):
    message = refusal(read, changed(old, new))
    assert "mine.toml: " in message
    for reason in reasons:
        assert reason in message


def test_a_file_without_a_tiny_table_has_no_tiny_size(read):
    file = read(SMALL[: SMALL.index("[tiny]")])
    assert file.problem().size == "full"
    with pytest.raises(UserError, match=r"there is no \[tiny\] table"):
        file.problem("tiny")
    assert "tiny = 3: should be a table" in refusal(read, "tiny = 3\n" + SMALL[: SMALL.index("[tiny]")])


def test_a_tiny_overlay_may_bring_an_architecture_the_placements_must_fit(read):
    message = refusal(read, changed("width = 0.125", 'architecture = "mlp"\nplacements = ["conv1"]'))
    assert "mine.toml with [tiny]: placement 'conv1' does not fit" in message


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [("training.l2=0", "training.l2", 0), ("training.l2 = 1e-3", "training.l2", 1e-3),
     ("training.epochs=7", "training.epochs", 7),
     ("training.population_statistics=true", "training.population_statistics", True),
     ("snapshots.schedule=log:50", "snapshots.schedule", "log:50"),
     ('snapshots.schedule="log:50"', "snapshots.schedule", "log:50"),
     ("width=0.25", "width", 0.25), ("augmentation.crop_padding=0", "augmentation.crop_padding", 0)],
)  # fmt: skip
def test_an_override_is_read_and_applied(read, text, key, value):
    assert parse_override(text) == (key, value)
    problem = read(SMALL).problem("full", dict([parse_override(text)]))
    held = problem
    for part in key.split("."):
        held = getattr(held, part)
    assert held == value


def test_an_override_wins_over_the_tiny_overlay_and_leaves_the_file_as_it_was(read):
    file = read(SMALL)
    assert file.problem("tiny", {"training.epochs": 9, "training.l2": 0.0}).training.model_dump() == {
        **file.problem("tiny").training.model_dump(), "epochs": 9, "l2": 0.0,
    }  # fmt: skip
    assert file.problem("tiny").training.epochs == 2


@pytest.mark.parametrize(
    ("text", "reasons"),
    [("training.l2", ["expected KEY=VALUE", "--set training.l2=0"]),
     ("training.l2=", ["expected KEY=VALUE"]), ("", ["expected KEY=VALUE"]),
     ("training.epoch=3", ["unknown key 'training.epoch'. Did you mean 'training.epochs'?", "augmentation.contrast"]),
     ("l2=0", ["unknown key 'l2'. Did you mean 'training.l2'?"]),
     ("seeds=3", ["unknown key 'seeds'.", "Known keys: training.batch_size"]),
     ("dataset=cifar10", ["unknown key 'dataset'"]), ("training=3", ["unknown key 'training'"])],
)  # fmt: skip
def test_an_override_that_cannot_be_meant_is_refused(text, reasons):
    with pytest.raises(UserError) as caught:
        parse_override(text)
    for reason in reasons:
        assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("training.epochs=0", "training.epochs = 0: input should be greater than or equal to 1"),
     ("training.epochs=1.5", "training.epochs = 1.5"), ("training.l2=abc", "training.l2 = 'abc'"),
     ("training.learning_rate=inf", "training.learning_rate = inf"), ("width=-1", "width = -1"),
     ("training.epochs={a = 1}", "training.epochs = {'a': 1}"), ("snapshots.schedule=5", "snapshots.schedule = 5"),
     ("training.population_statistics=True", "training.population_statistics = 'True'")],
)  # fmt: skip
def test_an_override_with_an_impossible_value_is_refused(read, text, reason):
    file = read(SMALL)
    with pytest.raises(UserError) as caught:
        file.problem("full", dict([parse_override(text)]))
    assert f"mine.toml with --set: {reason}" in str(caught.value)


def test_every_settable_key_is_one_that_decides_what_is_recorded():
    assert list(settable_keys()) == [
        "training.batch_size", "training.epochs", "training.learning_rate", "training.l2", "training.momentum",
        "training.population_statistics", "training.l2_scope", "training.optimiser", "training.nesterov",
        "training.betas", "training.eps", "training.optimiser_options", "training.schedule", "training.milestones",
        "training.factor", "training.floor", "training.anneal", "training.schedule_options", "training.warmup_epochs",
        "training.images", "augmentation.crop_padding", "augmentation.horizontal_flip",
        "augmentation.brightness", "augmentation.contrast", "augmentation.saturation", "evaluation.images",
        "snapshots.schedule", "probes.sparsity", "probes.landscape", "probes.landscape.schedule",
        "probes.covariate_shift", "probes.covariate_shift.schedule", "probes.covariate_shift.batches",
        "probes.spectrum", "probes.spectrum.schedule",
        "probes.spectrum.order", "probes.spectrum.draws", "probes.spectrum.batches", "probes.spectrum.statistics",
        "probes.activations", "probes.activations.statistics", "width",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"optimiser": "adam"}, "unknown optimiser 'adam'. Did you mean 'adamw'?"),
     ({"schedule": "cosin"}, "unknown rate schedule 'cosin'. Did you mean 'cosine'?"),
     ({"milestones": [2]}, "training.milestones = [2]: rate schedule 'constant' has no milestones; 'steps' has it"),
     ({"schedule": "steps", "milestones": [2], "floor": 0.01}, "rate schedule 'steps' has no floor; 'cosine' has it"),
     ({"schedule": "steps"}, "rate schedule 'steps' needs training.milestones"),
     ({"schedule": "steps", "milestones": [3, 2]}, "training.milestones = [3, 2]: should ascend"),
     ({"schedule": "cosine", "floor": 0.2}, "training.floor = 0.2: lies above the learning rate, 0.1"),
     ({"betas": [0.9, 0.99]}, "training.betas = [0.9, 0.99]: optimiser 'sgd' has no betas; 'adamw' has it"),
     ({"optimiser": "adamw", "momentum": 0.9}, "training.momentum = 0.9: optimiser 'adamw' has no momentum"),
     ({"nesterov": True}, "training.nesterov = true: needs a momentum"),
     ({"warmup_epochs": 6}, "training.warmup_epochs = 6: longer than the run, 5 epochs"),
     ({"optimiser_options": {"rho": 0.9}}, "optimiser 'sgd' has no options of its own, so no 'rho'"),
     ({"schedule_options": {"power": 2}}, "rate schedule 'constant' has no options of its own, so no 'power'")],
)  # fmt: skip
def test_an_option_that_the_chosen_row_does_not_have_is_refused_with_those_that_have_it(read, changes, reason):
    file = read(SMALL)
    with pytest.raises(UserError) as caught:
        file.problem("full", {f"training.{key}": value for key, value in changes.items()})
    message = str(caught.value)
    assert "mine.toml with --set: " in message
    assert reason in message


def test_the_american_spelling_is_a_misspelling():
    with pytest.raises(UserError, match=r"unknown key 'training\.optimizer'\. Did you mean 'training\.optimiser'\?"):
        parse_override("training.optimizer=adamw")
    assert parse_override("training.optimiser_options.rho=0.9") == ("training.optimiser_options.rho", 0.9)


def test_every_size_is_laid_over_the_full_one(read):
    file = read(SMALL + "\n[short]\nwidth = 0.25\n\n[short.training]\nepochs = 3\n")
    assert file.sizes == ("full", "short", "tiny")
    short, full = file.problem("short"), file.problem()
    assert (short.size, short.width, short.training.epochs, short.targets) == ("short", 0.25, 3, ())
    changed_back = {"size": "full", "width": full.width, "training": full.training, "targets": full.targets}
    assert short.model_copy(update=changed_back) == full
    assert file.problem("tiny") == read(SMALL).problem("tiny")


def test_a_size_that_is_no_table_or_names_a_size_is_refused(read):
    assert "short = 3: should be a table, [short]" in refusal(read, "short = 3\n" + SMALL)
    assert "unknown key 'short.size'" in refusal(read, SMALL + '\n[short]\nsize = "full"\n')
    assert "with [short]: unknown key 'wdth'. Did you mean 'width'?" in refusal(read, SMALL + "\n[short]\nwdth = 1\n")


def test_a_problem_on_small_data_says_that_it_needs_no_short_size(read):
    file = read(SMALL)
    assert file.sizes == ("full", "tiny")
    with pytest.raises(UserError, match=r"there is no \[short\] table.*\nSmall data, such as the digits, need none"):
        file.problem("short")


@pytest.mark.parametrize("name", [name for name in problem_files() if not name.startswith("digits")])
def test_a_short_problem_has_real_images_and_less_of_the_rest(name):
    file = find_problem(name)
    short, full = file.problem("short"), file.problem()
    assert short.dataset == full.dataset
    assert 10 <= short.training.epochs <= 15
    assert short.width <= full.width / 2 or short.training.images is not None
    assert short.targets == ()


def test_the_command_line_offers_the_sizes_that_there_are():
    assert get_args(Size) == SIZES
    assert set(OVERLAYS) == {*SIZES} - {"full"}


@pytest.mark.parametrize("order", [1, -1])
def test_a_probe_that_is_switched_on_and_has_options(order):
    changes = [("probes.landscape", True), ("probes.landscape.schedule", "log:3")][::order]
    problem = find_problem("digits_mlp").problem("tiny", dict(changes))
    assert problem.probes.hashed()["landscape"] == {"schedule": "log:3"}
    with pytest.raises(UserError, match="'landscape' is set to a value too"):
        find_problem("digits_mlp").problem("tiny", {"probes.landscape": False, "probes.landscape.schedule": "log:3"})


@given(st.floats(min_value=0, max_value=1e6))
def test_a_number_survives_an_override_to_the_last_bit(value):
    assert parse_override(f"training.l2={value!r}")[1] == value


def test_the_first_seeds(read):
    problem = read(SMALL).problem()
    assert [problem.first_seeds(count) for count in (1, 2, 3)] == [(1,), (1, 2), (1, 2, 3)]
    for count in (-1, 0, 4):
        with pytest.raises(UserError, match=f"mine has 3 seeds, {count} cannot be used"):
            problem.first_seeds(count)


def test_a_users_own_file_is_found_from_any_path(read, tmp_path, monkeypatch):
    read(SMALL)
    assert find_problem(str(tmp_path / "mine.toml")).name == "mine"
    monkeypatch.chdir(tmp_path)
    assert find_problem("mine.toml").name == find_problem("./mine.toml").name == "mine"
    with pytest.raises(UserError) as caught:
        find_problem("mine")
    assert "named by the path of its .toml file" in str(caught.value)


def test_two_files_of_one_name_are_both_found(read, tmp_path):
    read(SMALL)
    (tmp_path / "sub").mkdir()
    other = tmp_path / "sub" / "mine.toml"
    other.write_text(changed("epochs = 5", "epochs = 6"), encoding="utf-8")
    found = find_problems((str(tmp_path / "mine.toml"), str(other), str(tmp_path / "sub" / ".." / "mine.toml")))
    assert [file.problem().training.epochs for file in found] == [5, 6]


# ---- the files that ship ----

FOUNDING = ["cifar100_3c3d", "cifar100_allcnnc", "cifar10_3c3d", "digits_3c3d", "digits_allcnnc", "digits_mlp"]
NAMES = sorted(path.stem for path in (Path(__file__).parents[1] / "problems").glob("*.toml"))
DEEPOBS_SEEDS = (43, 44, 46, 48, 49, 50, 51)
DEEP = [name for name in NAMES if "resnet" in name or "vgg" in name]
CLASSES = {"cifar10": 10, "cifar100": 100, "digits": 10, "fmnist": 10}
CHANNELS = {"cifar10": 3, "cifar100": 3, "digits": 1, "fmnist": 1}
DIGITS_TRAINING_IMAGES = 1077
COLOUR_JITTER = {"brightness": 63 / 255, "contrast": 0.8, "saturation": 0.5}
SEEDS = (4842821, 42, 43, 44, 45, 46, 47, 48, 49, 50)


def test_the_shipped_problems():
    assert set(FOUNDING) <= set(NAMES)
    assert list(problem_files()) == NAMES
    assert [file.name for file in find_problems(())] == NAMES
    digits = [name for name in NAMES if name.startswith("digits_")]
    assert [file.name for file in find_problems(("digits_*", "cifar10_3c3d"))] == [*digits, "cifar10_3c3d"]
    ten = [name for name in NAMES if name.startswith("cifar10_")]
    assert [file.name for file in find_problems(("cifar10_3c3d", "cifar10_*"))] == list(
        dict.fromkeys(["cifar10_3c3d", *ten])
    )


def test_a_name_or_pattern_that_finds_nothing_is_refused_with_all_names():
    with pytest.raises(UserError, match=r"unknown problem 'cifar10_3c3'\. Did you mean 'cifar10_3c3d'"):
        find_problem("cifar10_3c3")
    with pytest.raises(UserError, match=r"(?s)unknown problem 'mnist_\*'.*" + ", ".join(NAMES)):
        find_problems(("mnist_*",))


@pytest.mark.parametrize("size", ["full", "tiny"])
@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_problem_is_whole_at_both_sizes(name, size):
    problem = find_problem(name).problem(size)
    architecture = ARCHITECTURES.get(problem.architecture)
    layers = architecture.layers(CLASSES[problem.dataset], problem.width)
    image = (CHANNELS[problem.dataset], architecture.image_size, architecture.image_size)
    assert trace(layers, image)[-1].output_shape == (CLASSES[problem.dataset],)
    masks = [parse_placement(each, slot_places(layers)) for each in problem.placements]
    assert problem.placements[0] == "hidden"
    assert len(set(masks)) == len(masks)
    full = find_problem(name).problem()
    assert problem.name == name == f"{full.dataset}_{full.architecture}{'_batch4' if 'batch4' in name else ''}"
    assert len(problem.seeds) >= 10
    if name == "fmnist_2c2d":
        assert problem.seeds[:7] == DEEPOBS_SEEDS
    assert problem.split_seed == 2023
    if problem.dataset == "digits":
        augmentation = problem.augmentation.model_dump()
        assert augmentation.pop("crop_padding") in {0, 2}
        assert not any(augmentation.values()), "a mirrored digit is no digit, and one channel has no colours"


@pytest.mark.parametrize("size", ["full", "tiny"])
@pytest.mark.parametrize("name", FOUNDING)
def test_a_founding_problem_is_plain_sgd_with_the_studys_seeds(name, size):
    problem = find_problem(name).problem(size)
    assert problem.seeds == SEEDS
    assert problem.snapshots.schedule == "every:5"
    assert set(hashed(problem.training)) == identity.FOUNDING["Training"]
    assert problem.training.momentum == 0
    if problem.dataset == "digits":
        assert problem.augmentation.crop_padding == 2


# Read in the authors' code: Frankle et al. (open_lth at 2ce732f), Davis & Frank (revisiting-bn-init at 34043d3).
FRANKLE = {
    "batch_size": 128, "epochs": 160, "learning_rate": 0.1, "momentum": 0.9, "population_statistics": False,
    "l2": 1e-4, "l2_scope": "all", "schedule": "steps", "milestones": [80, 120],
}  # fmt: skip
DAVIS = {
    "batch_size": 128, "epochs": 180, "learning_rate": 0.1, "momentum": 0.9, "population_statistics": False,
    "l2": 1e-4, "schedule": "cosine", "anneal": "epoch", "floor": 1e-8,
}  # fmt: skip


@pytest.mark.parametrize("name", DEEP)
def test_the_deep_networks_have_their_papers_settings(name):
    problem = find_problem(name).problem()
    davis = name.endswith(("resnet18", "resnet34", "resnet50", "resnet101"))
    assert hashed(problem.training) == (DAVIS if davis else FRANKLE)
    assert problem.augmentation.model_dump() == {
        "crop_padding": 0 if davis else 4, "horizontal_flip": 0.5, "brightness": 0, "contrast": 0, "saturation": 0,
    }  # fmt: skip
    assert problem.seeds == (tuple(range(1, 16)) if davis else tuple(range(42, 52)))
    assert problem.targets == ()
    source = "this suite" if name.endswith("29b") else "Davis & Frank 2022" if davis else "Frankle, Schwab & Morcos"
    assert source in problem.source


def test_what_a_comment_says_of_the_snapshots_is_so():
    for name in DEEP:
        problem = find_problem(name).problem()
        layers = ARCHITECTURES.get(problem.architecture).layers(CLASSES[problem.dataset], 1.0)
        image = (CHANNELS[problem.dataset], 32, 32)
        hidden = parse_placement("hidden", slot_places(layers))
        shapes = {
            each.layer.name: each.output_shape[0]
            for each in trace(layers, image)
            if isinstance(each.layer, Conv | Dense)
        }
        normalised = [each for each, digit in zip(slot_names(layers), hidden, strict=True) if digit == "1"]
        numbers = 2 * sum(shapes[each] for each in normalised)
        updates = 40_000 // problem.training.batch_size * problem.training.epochs
        text = problem_files()[name].read_text(encoding="utf-8")
        assert f"# {updates:,} updates of {numbers:,} numbers" in text


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_problem_is_small_and_settles_its_running_statistics_in_one_epoch(name):
    tiny = find_problem(name).problem("tiny")
    assert tiny.dataset == "digits"
    assert tiny.width <= 0.25
    assert tiny.training.epochs in {2, 3}
    updates = DIGITS_TRAINING_IMAGES // tiny.training.batch_size  # incomplete batches are dropped
    assert updates >= 44
    assert (1 - 0.1) ** updates < 0.01
    assert tiny.targets == ()


@pytest.mark.parametrize("name", NAMES)
def test_what_a_comment_says_of_the_updates_is_so(name):
    tiny = find_problem(name).problem("tiny")
    updates = DIGITS_TRAINING_IMAGES // tiny.training.batch_size
    text = problem_files()[name].read_text(encoding="utf-8")
    assert f"1,077 training images make {updates} updates" in text
    assert f"(0.9^{updates} < 0.01)" in text


def test_every_problem_is_a_setting_of_its_own_at_every_size():
    def facts(dataset):
        return DataFacts(dataset, CLASSES[dataset], CHANNELS[dataset], f"{dataset:0<64}", origin="official archive")

    problems = [find_problem(name).problem(size) for name in NAMES for size in ("full", "tiny")]
    settings = [expand_grid(each, facts(each.dataset), expand_variants(("bn",)))[0].setting_id for each in problems]
    assert len(set(settings)) == 2 * len(NAMES)


# The study's table (Tsingunidis 2023, chapter 3, with the released code's learning rates), typed here again.
STUDY = {
    "cifar10_3c3d": (128, 0.022610510812765, 100, 0.002, 10, {"hidden", "first", "penultimate", "first:3", "last:3"}),
    "cifar100_3c3d": (256, 0.16579130972807002, 350, 0.002, 100,
        {"hidden", "first", "penultimate", "first:3", "last:3"}),
    "cifar100_allcnnc": (256, 0.16579130972807002, 350, 0.0005, 100,
        {"hidden", "every", "first", "penultimate", "output", "first:4", "last:4", "output:4"}),
}  # fmt: skip


@pytest.mark.parametrize("name", STUDY)
def test_the_problems_of_the_study_have_the_studys_settings(name):
    batch_size, learning_rate, epochs, l2, classes, placements = STUDY[name]
    problem = find_problem(name).problem()
    assert hashed(problem.training) == {
        "batch_size": batch_size, "epochs": epochs, "learning_rate": learning_rate, "l2": l2,
        "momentum": 0.0, "population_statistics": False,
    }  # fmt: skip
    assert problem.augmentation.model_dump() == {"crop_padding": 2, "horizontal_flip": 0.5, **COLOUR_JITTER}
    assert problem.width == 1.0
    assert problem.seeds[0] == 4842821
    assert len(set(problem.seeds)) >= 10
    assert set(problem.placements) == placements
    assert CLASSES[problem.dataset] == classes
    assert "Tsingunidis 2023" in problem.source


def test_a_published_learning_rate_rounds_to_the_texts():
    for name, text in (("cifar10_3c3d", "0.022"), ("cifar100_3c3d", "0.166"), ("cifar100_allcnnc", "0.166")):
        rate = find_problem(name).problem().training.learning_rate
        assert abs(rate - float(text)) < 0.001


# The last epoch's test accuracies in DeepOBS's baselines at 873bbc2, vanilla under plain SGD.
BASELINES = {
    "cifar10_3c3d": (0.0630957, 100, {45: 0.830429, 47: 0.847957, 49: 0.833634, 50: 0.845152, 51: 0.838041}),
    "cifar100_allcnnc": (0.158489, 350, {43: 0.566607, 45: 0.57522, 47: 0.582532, 48: 0.575921, 49: 0.561599,
                                         50: 0.567007, 51: 0.596054}),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_target_is_the_mean_of_the_rows_it_names_and_else_there_is_none(name):
    targets = find_problem(name).problem().targets
    if name not in BASELINES:
        assert targets == ()
        return
    learning_rate, epoch, finals = BASELINES[name]
    (target,) = targets
    assert (target.metric, target.split) == ("accuracy", "test")
    assert target.level == pytest.approx(sum(finals.values()) / len(finals), abs=5e-8)
    assert isinstance(target.source, DeepOBSSource)
    assert (target.source.problem, target.source.optimizer) == (name, "sgd")
    assert (target.source.learning_rate, target.source.epoch) == (learning_rate, epoch)
    assert target.source.seeds == tuple(finals)
    assert "873bbc2" in target.source.deepobs
    assert "mean" in target.source.statistic


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_file_says_at_its_top_what_it_is(name):
    path = shipped_folder("problems") / f"{name}.toml"
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert re.search("^# (Reproduces|After) ", text.split("\n\n")[0], re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 120
    assert tomllib.loads(text)["summary"]
