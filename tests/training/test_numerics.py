"""Flags are set for the time of a run and put back; what the device cannot do is refused."""

import os

import pytest
import torch

from bnbench.errors import UserError
from bnbench.plan import PRECISIONS
from bnbench.training.numerics import autocast, check_precision, choose_device, numerics
from support.networks import CPU

BACKENDS = (
    (torch.backends.cuda.matmul, "cuda matmul"),
    (torch.backends.cudnn.conv, "cudnn conv"),
    (torch.backends.cudnn.rnn, "cudnn rnn"),
    (torch.backends.mkldnn.matmul, "mkldnn matmul"),
    (torch.backends.mkldnn.conv, "mkldnn conv"),
)


def flags():
    return {
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,
        "benchmark": torch.backends.cudnn.benchmark,
        "cudnn deterministic": torch.backends.cudnn.deterministic,
        "grad": torch.is_grad_enabled(),
        **{name: backend.fp32_precision for backend, name in BACKENDS},
    }


@pytest.fixture
def untidy():
    """Flags as a program of somebody else's may have left them, put back afterwards."""
    before = flags()
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    yield flags()
    torch.set_num_threads(before["threads"])
    torch.use_deterministic_algorithms(before["deterministic"], warn_only=before["warn only"])
    torch.utils.deterministic.fill_uninitialized_memory = before["fill"]
    torch.backends.cudnn.benchmark = before["benchmark"]
    for backend, name in BACKENDS:
        backend.fp32_precision = before[name]
    assert flags() == before


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_block_has_its_flags_and_puts_the_old_ones_back(precision):
    before = flags()
    with numerics(precision, CPU, 1):
        inside = flags()
    assert flags() == before
    product = "tf32" if precision == "tf32" else "ieee"
    assert inside == before | {
        "threads": 1,
        "deterministic": True,
        "warn only": False,
        "fill": False,
        "benchmark": False,
        "cuda matmul": product,
        "cudnn conv": product,
        "mkldnn matmul": "ieee",
        "mkldnn conv": "ieee",
    }


@pytest.mark.parametrize("precision", PRECISIONS)
def test_flags_of_somebody_else_come_back(untidy, precision):
    with numerics(precision, CPU, 1):
        assert flags() != untidy
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert flags() == untidy


def test_flags_come_back_after_an_exception():
    before = flags()
    with pytest.raises(ZeroDivisionError), numerics("tf32", CPU, 1):
        _ = 1 // 0
    assert flags() == before


def test_blocks_can_be_nested():
    before = flags()
    with numerics("tf32", CPU, 2):
        outer = flags()
        with numerics("fp32", CPU, 1):
            assert flags()["cuda matmul"] == "ieee"
        assert flags() == outer
    assert flags() == before


def test_a_program_that_lowered_the_precision_of_products_does_not_change_a_run():
    left, right = torch.randn((2, 300, 300), generator=torch.Generator().manual_seed(0))
    with numerics("fp32", CPU, 1):
        expected = left @ right
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    try:
        with numerics("fp32", CPU, 1):
            assert torch.equal(left @ right, expected)
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = "none"


def test_deterministic_matrix_products_are_possible_on_a_gpu(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with numerics("fp32", CPU, 1):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with numerics("fp32", CPU, 1):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_operations_that_cannot_be_deterministic_raise_inside_the_block():
    pool = torch.nn.MaxUnpool2d(2)
    arguments = torch.ones(1, 1, 1, 1), torch.zeros((1, 1, 1, 1), dtype=torch.int64)
    pool(*arguments)
    with numerics("fp32", CPU, 1), pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
        pool(*arguments)


def test_autocast_is_bfloat16_for_bf16_alone():
    left = torch.ones(2, 2)
    types = {}
    for precision in PRECISIONS:
        with autocast(precision, CPU):
            types[precision] = (left @ left).dtype
    assert types == {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


def test_tf32_is_refused_on_a_cpu():
    with pytest.raises(UserError, match="tf32") as refused:
        check_precision("tf32", CPU)
    assert "fp32 or bf16" in refused.value.hint
    check_precision("fp32", CPU)
    check_precision("bf16", CPU)


@pytest.mark.parametrize(("capability", "has_it"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_tf32_is_refused_on_a_gpu_without_it(monkeypatch, capability, has_it):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "a GPU")
    if has_it:
        check_precision("tf32", torch.device("cuda"))
    else:
        with pytest.raises(UserError, match="a GPU does not have it"):
            check_precision("tf32", torch.device("cuda"))
    check_precision("fp32", torch.device("cuda"))


def test_devices():
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "", "cpu:0"])
def test_a_device_that_does_not_exist_is_refused_with_those_that_do(name):
    with pytest.raises(UserError, match="unknown device") as refused:
        choose_device(name)
    assert "auto, cpu, cuda" in refused.value.hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_refused(name):
    with pytest.raises(UserError, match="sees no CUDA device") as refused:
        choose_device(name)
    assert refused.value.hint == "Use --device cpu."
