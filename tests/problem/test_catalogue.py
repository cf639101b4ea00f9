"""Problems by name, pattern or path: those that ship, and a user's own."""

import pytest

from bnbench.errors import UserError
from bnbench.problem import find_problem, find_problems, problem_files
from support.problem_texts import SMALL, changed
from support.shipped_problems import FOUNDING, NAMES


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
