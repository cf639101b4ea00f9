"""Problem files as texts, read from a folder of their own."""

import pytest

from bnbench.problem import read_problem


@pytest.fixture
def read(tmp_path):
    """Read a problem file of this text, from a folder of its own."""

    def reader(text, name="mine.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return read_problem(path)

    return reader
