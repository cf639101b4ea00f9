"""A problem file: what is no file, no TOML or no name, and the sizes that are laid over the full one."""

import pytest

from bnbench.errors import UserError
from bnbench.identity import hashed
from bnbench.problem import find_problem, read_problem
from support.problem_texts import SMALL, changed, refusal


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


@pytest.mark.parametrize(
    ("text", "key"),
    [('name = "other"\n' + SMALL, "name"), ('size = "tiny"\n' + SMALL, "size"),
     (SMALL.replace("[tiny]\n", '[tiny]\nname = "other"\n'), "tiny.name")],
)  # fmt: skip
def test_a_file_does_not_name_itself(read, text, key):
    message = refusal(read, text)
    assert f"unknown key '{key}'" in message
    assert "A problem's name is its file's" in message


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


def test_a_file_without_a_tiny_table_has_no_tiny_size(read):
    file = read(SMALL[: SMALL.index("[tiny]")])
    assert file.problem().size == "full"
    with pytest.raises(UserError, match=r"there is no \[tiny\] table"):
        file.problem("tiny")
    assert "tiny = 3: should be a table" in refusal(read, "tiny = 3\n" + SMALL[: SMALL.index("[tiny]")])


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
