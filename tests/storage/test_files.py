"""What is said of a folder that cannot be written: the option that names such a folder."""

import errno
from pathlib import Path

import pytest

from bnbench.storage.files import StorageError, reported


@pytest.mark.parametrize("option", ["--results", "--output", "--reference"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOTDIR])
def test_a_hint_names_the_option_of_the_folder(option, code):
    with pytest.raises(StorageError) as caught, reported(Path("here"), option=option):
        raise OSError(code, "no")
    assert str(caught.value).startswith("here cannot be written: no\n")
    assert option in caught.value.hint
    assert "{" not in caught.value.hint
