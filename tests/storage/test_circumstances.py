"""What is recorded of the environment."""

import pytest

from bnbench.storage.circumstances import CPU_SWITCHES, GPU_SWITCHES, differing_circumstances, switches


@pytest.mark.parametrize("name", [*CPU_SWITCHES, *GPU_SWITCHES])
def test_variables_that_decide_bits_are_recorded_where_they_are_set(name):
    environment = {"PATH": "/bin", "USER": "somebody", "MKL_NUM_THREADS": "1"}
    assert switches(environment, {}) == {}
    assert switches({**environment, name: ""}, {}) == {}
    assert switches({**environment, name: "X"}, {}) == {name: "X"}
    assert switches({**environment, name: "X"}, {name: "X"}) == {}
    assert switches({**environment, name: "Y"}, {name: "X"}) == {name: "Y"}


def test_provenance_that_says_nothing_reads_as_unset_and_unknown():
    assert differing_circumstances({}, {}) == {}
    assert differing_circumstances({"flags": {"MKL_CBWR": "AVX2"}, "threads": 1}, {"flags": None}) == {
        "threads": ("1", "unknown"),
        "MKL_CBWR": ("AVX2", "unset"),
    }
