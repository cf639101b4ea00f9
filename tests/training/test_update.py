"""Updates that are recorded once and replayed: the same bits, and nothing in them that Python would have to renew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bnbench.components.normalisers import NORMALISERS, Normaliser
from bnbench.components.variants import VARIANTS, Variant
from bnbench.network.draws import Draws
from bnbench.training import update
from bnbench.training.numerics import numerics
from bnbench.training.seeding import KeyedDraws, NotedDraws, StepDraws, dropout_mask, keys_of, uniform_noise
from bnbench.training.update import RECORDED_AFTER, EagerUpdate, Outcome, ReplayedUpdate, is_replayed, update_of
from support.networks import CPU, FIVE, run_spec, train, trainer

CUDA = torch.device("cuda", 0)


class Again:
    """What CUDA graphs do, on a CPU: recording carries nothing out, a replay writes where the record said it would."""

    def __init__(self) -> None:
        self.recorded = self.replayed = self.aside_of = 0

    def aside(self, body: Callable[[], Outcome]) -> Outcome:
        self.aside_of += 1
        return body()

    def record(self, body: Callable[[], Outcome]) -> tuple[Callable[[], None], Outcome]:
        self.recorded += 1
        outcome = torch.zeros(()), torch.zeros((), dtype=torch.int64)

        def replay() -> None:
            self.replayed += 1
            for kept, new in zip(outcome, body(), strict=True):
                kept.copy_(new)

        return replay, outcome


class Told(TorchDispatchMode):
    """Every operation with what of its arguments is no tensor, and the shapes of those that are."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.namespace == "profiler":
            return function(*args, **(kwargs or {}))
        told = [tuple(each.shape) if isinstance(each, Tensor) else each for each in tree_leaves((args, kwargs))]
        self.lines.append(f"{function}{told}")
        return function(*args, **(kwargs or {}))


def operations_of_two_steps(spec: Any) -> tuple[list[str], list[str]]:
    """What a device would be told at two steps, one after the other, each with keys that lie on the device."""
    run = trainer(spec)
    eager = EagerUpdate(run.network, run.optimiser, spec.precision, CPU)
    found = []
    with numerics(spec.precision, CPU, 1):
        batches = run._batches(1)
        noted = NotedDraws(StepDraws(spec.seed, 0))
        eager(*next(batches), noted)
        for step in (1, 2):
            keys = keys_of(spec.seed, noted.asked, [step])[0]
            draws: Draws = KeyedDraws(keys, {each: place for place, each in enumerate(noted.asked)})
            images, labels = next(batches)
            with Told() as told:
                eager(images, labels, draws)
            found.append(told.lines)
    return found[0], found[1]


def a_variant_with(normaliser: str) -> Variant:
    """The first row of the table that trains its weights as they are, under this normaliser."""
    rows = (VARIANTS.get(name) for name in VARIANTS.names())
    found = next(row for row in rows if (row.normaliser, row.weights, row.train_weights) == (normaliser, "plain", True))
    return replace(found, options={"chunk": 4}) if normaliser == "batch_ghost" else found


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"precision": "bf16"}], ids=str)
@pytest.mark.parametrize("architecture", ["3c3d", "allcnnc"])
@pytest.mark.parametrize("variant", [*(row.name for row in FIVE), "bn_noisy"])
def test_a_run_of_replayed_updates_has_the_bits_of_one_operation_at_a_time(variant, architecture, settings) -> None:
    spec = run_spec(variant, architecture=architecture, schedule="every:1", **settings)
    expected, run, recorder = train(trainer(spec)), trainer(spec), Again()
    run._update = ReplayedUpdate(EagerUpdate(run.network, run.optimiser, spec.precision, CPU), recorder)
    assert train(run).rows() == expected.rows()
    assert (recorder.aside_of, recorder.recorded) == (RECORDED_AFTER, 1)
    assert recorder.replayed == run.total_steps - RECORDED_AFTER


@pytest.mark.parametrize("normaliser", [row for row in NORMALISERS.names() if NORMALISERS.get(row).replays])
def test_a_device_is_told_the_same_at_every_step_of_what_says_that_it_replays(normaliser: str) -> None:
    first, second = operations_of_two_steps(run_spec(a_variant_with(normaliser), architecture="allcnnc"))
    assert len(first) > 50
    assert first == second
    assert not [line for line in first if "_local_scalar_dense" in line or "nonzero" in line], "the host waits for it"


class Counting(nn.Module):
    """Not to be replayed: it has a number of its own at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        return x * (1 + 1 / self.steps)


def counting(site: Any, options: Any) -> nn.Module:
    return Counting()


def test_what_has_a_number_of_its_own_at_every_step_is_found_out() -> None:
    NORMALISERS.register_for_session(
        Normaliser("counting", "counting", "x̂ = x", "a test", f"{__name__}:counting", replays=True)
    )
    row = replace(VARIANTS.get("bn_gamma_beta"), name="counted", normaliser="counting")
    first, second = operations_of_two_steps(run_spec(row))
    assert first != second


@pytest.mark.parametrize(
    ("changes", "device", "expected"),
    [
        ({}, CUDA, True),
        ({"variant": "bn_noisy"}, CUDA, True),
        ({"momentum": 0.9}, CUDA, True),
        ({}, CPU, False),
        ({"variant": "bn_population"}, CUDA, False),
        ({"variant": "wn_gamma_beta"}, CUDA, False),
        ({"rates": "cosine"}, CUDA, False),
        ({"warmup_epochs": 1}, CUDA, False),
        ({"optimiser": "adamw", "learning_rate": 0.001}, CUDA, False),
    ],
    ids=str,
)
def test_who_is_replayed(changes: dict[str, Any], device: torch.device, expected: bool, monkeypatch) -> None:
    monkeypatch.delenv("BNBENCH_GRAPHS", raising=False)
    spec = run_spec(**changes)
    assert is_replayed(spec, device) is expected
    monkeypatch.setenv("BNBENCH_GRAPHS", "0")
    assert is_replayed(spec, device) is False


def test_a_run_that_may_be_replayed_records_with_cuda_graphs(monkeypatch) -> None:
    monkeypatch.delenv("BNBENCH_GRAPHS", raising=False)
    monkeypatch.setattr(update, "CudaGraphs", lambda device: Again())
    run = trainer(run_spec())
    assert isinstance(update_of(run.spec, run.network, run.optimiser, CUDA), ReplayedUpdate)
    assert isinstance(update_of(run.spec, run.network, run.optimiser, CPU), EagerUpdate)


def test_keys_on_the_device_give_the_bits_of_keys_as_numbers() -> None:
    asked = [("dropout", "one"), ("noise", "two/mean")]
    keys, like = keys_of(7, asked, [5, 900]), torch.empty(3, 4, 6, 6)
    for place, step in enumerate((5, 900)):
        draws = KeyedDraws(keys[place], {each: number for number, each in enumerate(asked)})
        assert torch.equal(draws.dropout("one", 0.3, like), dropout_mask(7, step, "one", 0.3, like))
        assert torch.equal(draws.noise("two/mean", (3, 4), like), uniform_noise(7, step, "two/mean", (3, 4), like))


def test_keys_are_those_of_the_step_across_the_blocks_they_come_in(monkeypatch) -> None:
    monkeypatch.setattr(update, "_STEPS_OF_KEYS", 3)
    spec = run_spec("bn_noisy", architecture="allcnnc")
    expected, run = train(trainer(spec)), trainer(spec)
    run._update = ReplayedUpdate(EagerUpdate(run.network, run.optimiser, spec.precision, CPU), Again())
    assert train(run).rows() == expected.rows()
