"""The learning rate as a function of the step: against formulas, against torch's schedulers, and without memory."""

import dataclasses
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bnbench.components.rate_schedules import (
    RATE_SCHEDULES,
    SCHEDULE_SETTINGS,
    RateSchedule,
    warm_up,
)
from bnbench.errors import UserError
from bnbench.learning_rate import is_constant, rate_function
from bnbench.options import Option
from bnbench.problem import Training, check_training


def training(**fields):
    return check_training(Training(**{"batch_size": 8, "epochs": 10, "learning_rate": 0.1, **fields}))


def rates(settings, steps_per_epoch=3):
    rate = rate_function(settings, steps_per_epoch)
    return [rate(step) for step in range(settings.epochs * steps_per_epoch)]


SCHEDULES = st.one_of(
    st.just({"schedule": "constant"}),
    st.builds(
        lambda milestones, factor: {"schedule": "steps", "milestones": sorted(milestones), "factor": factor},
        st.sets(st.integers(1, 12), min_size=1, max_size=4),
        st.floats(0.01, 1),
    ),
    st.builds(
        lambda floor, anneal: {"schedule": "cosine", "floor": floor, "anneal": anneal},
        st.floats(0, 0.1),
        st.sampled_from(["step", "epoch"]),
    ),
)
WARM_UPS = st.sampled_from([0.0, 0.5, 1.0, 2.25, 10.0])


@given(SCHEDULES, WARM_UPS, st.integers(1, 7), st.randoms())
def test_a_rate_depends_on_the_step_alone_and_stays_between_nothing_and_the_runs_own(
    schedule, warmup_epochs, per_epoch, random
):
    settings = training(warmup_epochs=warmup_epochs, **schedule)
    straight = rates(settings, per_epoch)
    shuffled = list(range(len(straight)))
    random.shuffle(shuffled)
    again = rate_function(settings, per_epoch)
    assert {step: again(step) for step in shuffled} == dict(enumerate(straight))
    assert all(0 <= rate <= 0.1 * (1 + 1e-15) for rate in straight)
    if warmup_epochs == 0:
        assert straight[0] == 0.1
        assert all(later <= earlier * (1 + 1e-15) for earlier, later in pairwise(straight))


@given(SCHEDULES, st.sampled_from([0.5, 1.0, 2.25]), st.integers(2, 7))
def test_a_warm_up_rises_in_equal_parts_and_ends_at_the_schedules_own_rate(schedule, warmup_epochs, per_epoch):
    warmed = rates(training(warmup_epochs=warmup_epochs, **schedule), per_epoch)
    plain = rates(training(**schedule), per_epoch)
    length = warmup_epochs * per_epoch
    for step, (rate, own) in enumerate(zip(warmed, plain, strict=True)):
        assert rate == pytest.approx(own * min(1, (step + 1) / length), rel=1e-15)
    assert warmed[math.ceil(length) :] == plain[math.ceil(length) :]
    assert warmed[0] > 0


def test_the_last_update_of_a_warm_up_of_whole_steps_has_the_full_rate():
    assert [warm_up(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert warm_up(0, 0) == 1.0


def test_steps_fall_with_the_first_update_after_a_milestone():
    settings = training(schedule="steps", milestones=[2, 5], factor=0.5)
    assert rates(settings, 2)[:12] == [0.1] * 4 + [0.05] * 6 + [0.025] * 2


def of_torch(scheduler, epochs, **options):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule = scheduler(optimiser, **options)
    found = []
    for _ in range(epochs):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("fields", "scheduler", "options", "per_epoch"),
    [
        (
            {"schedule": "steps", "milestones": [3, 7], "factor": 0.2},
            torch.optim.lr_scheduler.MultiStepLR, {"milestones": [3, 7], "gamma": 0.2}, 1,
        ),
        (
            {"schedule": "cosine", "floor": 1e-8, "anneal": "epoch"},
            torch.optim.lr_scheduler.CosineAnnealingLR, {"T_max": 10, "eta_min": 1e-8}, 1,
        ),
        (
            {"schedule": "cosine", "floor": 0.01},
            torch.optim.lr_scheduler.CosineAnnealingLR, {"T_max": 40, "eta_min": 0.01}, 4,
        ),
        (
            {"warmup_epochs": 5.0},
            torch.optim.lr_scheduler.LinearLR, {"start_factor": 0.2, "total_iters": 4}, 1,
        ),
    ],
)  # fmt: skip
def test_equals_torchs_own_scheduler(fields, scheduler, options, per_epoch):
    ours = rates(training(**fields), per_epoch)
    assert ours == pytest.approx(of_torch(scheduler, len(ours), **options), rel=1e-12)


def test_a_cosine_each_epoch_is_constant_within_it_and_never_quite_at_its_floor():
    found = rates(training(schedule="cosine", floor=0.02, anneal="epoch"), 4)
    assert [len({*found[start : start + 4]}) for start in range(0, 40, 4)] == [1] * 10
    assert found[-1] > 0.02
    assert found[20] == pytest.approx(0.06)


def test_only_a_constant_rate_without_warm_up_needs_no_computing():
    assert is_constant(training())
    assert not is_constant(training(warmup_epochs=1))
    assert not is_constant(training(schedule="cosine"))


def test_every_setting_belongs_to_a_schedule():
    rows = [RATE_SCHEDULES.get(name) for name in ("constant", "steps", "cosine")]
    assert {setting for row in rows for setting in row.settings} == set(SCHEDULE_SETTINGS) < set(Training.model_fields)


def polynomial(step, course, *, power):
    return course.learning_rate * (1 - step / course.steps) ** power


@pytest.fixture
def own_schedule(monkeypatch):
    monkeypatch.setattr(RATE_SCHEDULES, "_session", {})
    options = (Option("power", 2.0, "of what is left of the run", minimum=0.0),)
    return RATE_SCHEDULES.register_for_session(
        RateSchedule("polynomial", "polynomial", "η₀ · (1 − t/T)ᵖ", "a test", polynomial, options=options)
    )


def test_a_schedule_of_ones_own_has_its_options_in_a_table(own_schedule):
    settings = training(schedule="polynomial")
    assert settings.schedule_options == {"power": 2.0}
    assert hash(settings) == hash(training(schedule="polynomial", schedule_options={"power": 2}))
    assert rates(settings)[15] == pytest.approx(0.1 * 0.25)
    assert rates(training(schedule="polynomial", schedule_options={"power": 1}))[15] == pytest.approx(0.05)
    with pytest.raises(
        UserError,
        match=r"rate schedule 'polynomial': unknown option 'pover'\. Did you mean 'power'\?\nKnown options: power\.",
    ):
        training(schedule="polynomial", schedule_options={"pover": 1})
    with pytest.raises(UserError, match="option power = -1: should be a number, at least 0"):
        training(schedule="polynomial", schedule_options={"power": -1})
    with pytest.raises(UserError, match="rate schedule 'polynomial' has no factor; 'steps' has it"):
        training(schedule="polynomial", factor=0.5)
    assert dataclasses.replace(own_schedule, revision=2) != own_schedule
