"""What the types of a problem cannot say: names that do not exist, settings that do not fit together."""

import pytest

from bnbench.errors import UserError
from support.problem_texts import SMALL, changed, refusal


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [('architecture = "3c3d"', 'architecture = "3c3"',
      ["unknown architecture '3c3'. Did you mean '3c3d'?", "allcnnc", "mlp"]),
     ('["hidden", "first"]', '["hidden", "conv9"]', ["placement 'conv9' does not fit", "conv1 conv2 conv3 dense1"]),
     ('["hidden", "first"]', '["first:7"]', ["'first:7' does not fit: here the K of first:K is a number from 1 to 6"]),
     ('["hidden", "first"]', '["hidden", "111110"]', ["placements: two of hidden, 111110 are the same placement"]),
     ('["hidden", "first"]', "[]", ["placements = []", "at least 1 item"]),
     ("seeds = [1, 2, 3]", "seeds = [1, 2, 1]", ["seeds: a seed is listed twice"])],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(read, old, new, reasons):
    message = refusal(read, changed(old, new))
    assert "mine.toml: " in message
    for reason in reasons:
        assert reason in message


def test_a_tiny_overlay_may_bring_an_architecture_the_placements_must_fit(read):
    message = refusal(read, changed("width = 0.125", 'architecture = "mlp"\nplacements = ["conv1"]'))
    assert "mine.toml with [tiny]: placement 'conv1' does not fit" in message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"optimiser": "adam"}, "unknown optimiser 'adam'. Did you mean 'adamw'?"),
     ({"schedule": "cosin"}, "unknown rate schedule 'cosin'. Did you mean 'cosine'?"),
     ({"milestones": [2]}, "training.milestones = [2]: rate schedule 'constant' has no milestones; 'steps' has it"),
     ({"schedule": "steps", "milestones": [2], "floor": 0.01}, "rate schedule 'steps' has no floor; 'cosine' has it"),
     ({"schedule": "steps"}, "rate schedule 'steps' needs training.milestones"),
     ({"schedule": "steps", "milestones": [3, 2]}, "training.milestones = [3, 2]: should ascend"),
     ({"schedule": "cosine", "floor": 0.2}, "training.floor = 0.2: lies above the learning rate, 0.1"),
     ({"betas": [0.9, 0.99]}, "training.betas = [0.9, 0.99]: optimiser 'sgd' has no betas; 'adamw' has it"),
     ({"optimiser": "adamw", "momentum": 0.9}, "training.momentum = 0.9: optimiser 'adamw' has no momentum"),
     ({"nesterov": True}, "training.nesterov = true: needs a momentum"),
     ({"warmup_epochs": 6}, "training.warmup_epochs = 6: longer than the run, 5 epochs"),
     ({"optimiser_options": {"rho": 0.9}}, "optimiser 'sgd' has no options of its own, so no 'rho'"),
     ({"schedule_options": {"power": 2}}, "rate schedule 'constant' has no options of its own, so no 'power'")],
)  # fmt: skip
def test_an_option_that_the_chosen_row_does_not_have_is_refused_with_those_that_have_it(read, changes, reason):
    file = read(SMALL)
    with pytest.raises(UserError) as caught:
        file.problem("full", {f"training.{key}": value for key, value in changes.items()})
    message = str(caught.value)
    assert "mine.toml with --set: " in message
    assert reason in message
