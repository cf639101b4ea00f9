"""The problems that ship: whole at every size, and what their files say of themselves is so."""

import re
import tomllib

import pytest

from bnbench.components.architectures import ARCHITECTURES, Conv, Dense, slot_names, slot_places, trace
from bnbench.components.placements import parse_placement
from bnbench.components.variants import expand_variants
from bnbench.plan import DataFacts, expand_grid
from bnbench.problem import find_problem, problem_files
from bnbench.shipped import shipped_folder
from support.shipped_problems import CHANNELS, CLASSES, DEEP, NAMES

DEEPOBS_SEEDS = (43, 44, 46, 48, 49, 50, 51)
DIGITS_TRAINING_IMAGES = 1077


@pytest.mark.parametrize("name", [name for name in problem_files() if not name.startswith("digits")])
def test_a_short_problem_has_real_images_and_less_of_the_rest(name):
    file = find_problem(name)
    short, full = file.problem("short"), file.problem()
    assert short.dataset == full.dataset
    assert 10 <= short.training.epochs <= 15
    assert short.width <= full.width / 2 or short.training.images is not None
    assert short.targets == ()


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


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_file_says_at_its_top_what_it_is(name):
    path = shipped_folder("problems") / f"{name}.toml"
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert re.search("^# (Reproduces|After) ", text.split("\n\n")[0], re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 120
    assert tomllib.loads(text)["summary"]
