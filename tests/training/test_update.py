"""Updates that are recorded once and replayed: the same bits, and nothing in them that Python would have to renew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnbench.components.normalisers import NORMALISERS, Normaliser
from bnbench.components.variants import VARIANTS, Variant
from bnbench.execution.doctor.replaying import not_replayable
from bnbench.training import update
from bnbench.training.seeding import KeyedDraws, dropout_mask, keys_of, uniform_noise
from bnbench.training.update import (
    RECORDED_AFTER,
    EagerUpdate,
    Outcome,
    RecordingError,
    ReplayedUpdate,
    first_cause,
    is_replayed,
    update_of,
)
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


def a_variant_with(normaliser: str) -> Variant:
    """The first row of the table that trains its weights as they are, under this normaliser."""
    rows = (VARIANTS.get(name) for name in VARIANTS.names())
    found = next(row for row in rows if (row.normaliser, row.weights, row.train_weights) == (normaliser, "plain", True))
    return replace(found, options={"chunk": 4}) if normaliser == "batch_ghost" else found


@pytest.mark.parametrize(
    ("variant", "architecture", "settings"),
    [
        *((row.name, "3c3d", {}) for row in FIVE),
        ("bn_noisy", "3c3d", {}),
        *((variant, "allcnnc", settings)
          for variant in ("bn_gamma_beta", "bn_noisy") for settings in ({}, {"momentum": 0.9}, {"precision": "bf16"})),
    ],
    ids=str,
)  # fmt: skip
def test_a_run_of_replayed_updates_has_the_bits_of_one_operation_at_a_time(variant, architecture, settings) -> None:
    spec = run_spec(variant, architecture=architecture, schedule="every:1", **settings)
    expected, run, recorder = train(trainer(spec)), trainer(spec), Again()
    run._update = ReplayedUpdate(EagerUpdate(run.network, run.optimiser, spec.precision, CPU), recorder)
    assert train(run).rows() == expected.rows()
    assert (recorder.aside_of, recorder.recorded) == (RECORDED_AFTER, 1)
    assert recorder.replayed == run.total_steps - RECORDED_AFTER


@pytest.mark.parametrize("normaliser", [row for row in NORMALISERS.names() if NORMALISERS.get(row).replays])
def test_nothing_but_tensors_changes_between_updates_of_what_says_that_it_replays(normaliser: str) -> None:
    spec = run_spec(a_variant_with(normaliser), architecture="allcnnc", momentum=0.9)
    assert not_replayable(trainer(spec)) is None


class Counting(nn.Module):
    """Has a number of its own at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        return x * (1 + 1 / self.steps)


class Replacing(nn.Module):
    """Puts another tensor in its buffer's place."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean()
        return x - self.mean


class Deciding(nn.Module):
    """Looks at what a tensor holds."""

    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.detach().mean()) < 1e9 else -x


def counting(site: Any, options: Any) -> nn.Module:
    return Counting()


def replacing(site: Any, options: Any) -> nn.Module:
    return Replacing()


def deciding(site: Any, options: Any) -> nn.Module:
    return Deciding()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("counting", "an update does aten.mul.Tensor"),
        ("replacing", "slots.conv1.normaliser.standardise.mean lies elsewhere after an update"),
        ("deciding", "an update waits for what a tensor holds: aten._local_scalar_dense"),
    ],
)
def test_what_a_record_would_not_renew_is_found_out(kind: str, told: str) -> None:
    NORMALISERS.register_for_session(Normaliser(kind, kind, "x̂ = x", "a test", f"{__name__}:{kind}", replays=True))
    row = replace(VARIANTS.get("bn_gamma_beta"), name=kind, normaliser=kind)
    assert (not_replayable(trainer(run_spec(row))) or "").startswith(told)


def test_what_could_not_be_recorded_is_told_by_what_went_wrong_first() -> None:
    try:
        try:
            raise ValueError("operation not permitted when stream is capturing\nmore")
        except ValueError:
            raise RuntimeError("operation failed due to a previous error during capture")  # noqa: B904 -- as torch does
    except RuntimeError as error:
        told = str(RecordingError(first_cause(error)))
    assert told.startswith("an update cannot be recorded as a CUDA graph: operation not permitted when stream is")
    assert "(BNBENCH_GRAPHS=0 trains without;" in told


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
