"""What a mistake in a problem file is called: the file, the key and the reason, each mistake once."""

import pytest

from bnbench.problem import Training
from support.problem_texts import WITH_DEEPOBS, changed, refusal


@pytest.mark.parametrize(
    ("old", "new", "key", "nearest"),
    [("epochs = 5", "epoch = 5", "training.epoch", "epochs"),
     ("[training]", "[trainning]", "trainning", "training"),
     ("crop_padding", "crop_pading", "augmentation.crop_pading", "crop_padding"),
     ("schedule", "shedule", "snapshots.shedule", "schedule"),
     ("split_seed", "splitseed", "splitseed", "split_seed"),
     ("[tiny]", "[tinny]", "tinny", "tiny"),
     ("level", "levels", "targets.0.levels", "level"),
     ("run_ids", "run_id", "targets.0.source.run_id", "run_ids"),
     ("epochs = 2", "epoch = 2", "training.epoch", "epochs")],
)  # fmt: skip
def test_an_unknown_key_is_refused_with_the_nearest_known_one(read, old, new, key, nearest):
    text = changed("[tiny.training]", "[tinny.training]", changed(old, new)) if old == "[tiny]" else changed(old, new)
    message = refusal(read, text)
    assert f"mine.toml{' with [tiny]' if old == 'epochs = 2' else ''}: unknown key '{key}'. " in message
    assert f"Did you mean '{nearest}'? Known keys here: " in message


def test_an_unlike_key_is_refused_with_all_keys(read):
    message = refusal(read, changed("epochs = 5", "zzz = 5\nepochs = 5"))
    assert message.endswith(
        f"mine.toml: unknown key 'training.zzz'. Known keys here: {', '.join(Training.model_fields)}."
    )


def test_a_mistake_in_a_source_gets_the_message_of_its_own_kind_alone(read):
    message = refusal(read, changed("epoch = 100", "epochs = 100", WITH_DEEPOBS))
    assert sorted(line.partition("mine.toml: ")[2] for line in message.splitlines()) == [
        "the key 'targets.0.source.epoch' is missing.",
        "unknown key 'targets.0.source.epochs'. Did you mean 'epoch'? Known keys here: deepobs, problem, optimizer, "
        "learning_rate, epoch, seeds, statistic.",
    ]


@pytest.mark.parametrize(
    ("old", "new", "key", "reason"),
    [("batch_size = 32", 'batch_size = "32"', "training.batch_size = '32'", "valid integer"),
     ("batch_size = 32", "batch_size = 32.0", "training.batch_size = 32.0", "valid integer"),
     ("batch_size = 32", "batch_size = true", "training.batch_size = True", "valid integer"),
     ("batch_size = 32", "batch_size = 1", "training.batch_size = 1", "greater than or equal to 2"),
     ("epochs = 5", "epochs = 0", "training.epochs = 0", "greater than or equal to 1"),
     ("epochs = 5", "epochs = -3", "training.epochs = -3", "greater than or equal to 1"),
     ("learning_rate = 0.1", "learning_rate = 0", "training.learning_rate = 0", "greater than 0"),
     ("learning_rate = 0.1", "learning_rate = nan", "training.learning_rate = nan", "finite number"),
     ("learning_rate = 0.1", "learning_rate = inf", "training.learning_rate = inf", "finite number"),
     ("l2 = 0.002", "l2 = -0.002", "training.l2 = -0.002", "greater than or equal to 0"),
     ("l2 = 0.002", "momentum = 1.0", "training.momentum = 1.0", "less than 1"),
     ("l2 = 0.002", "population_statistics = 1", "training.population_statistics = 1", "valid boolean"),
     ("crop_padding = 2", "crop_padding = 17", "augmentation.crop_padding = 17", "less than or equal to 16"),
     ("crop_padding = 2", "horizontal_flip = 1.5", "augmentation.horizontal_flip = 1.5", "less than or equal to 1"),
     ("every:5", "each:5", "snapshots.schedule = 'each:5'", "every:N"),
     ("width = 0.5", "width = 0", "width = 0", "greater than 0"),
     ("seeds = [1, 2, 3]", "seeds = []", "seeds = []", "at least 1 item"),
     ("seeds = [1, 2, 3]", "seeds = 1", "seeds = 1", "valid tuple"),
     ("seeds = [1, 2, 3]", "seeds = [1, -2]", "seeds.1 = -2", "greater than or equal to 0"),
     ("seeds = [1, 2, 3]", "seeds = [9223372036854775808]", "seeds.0 = 9223372036854775808", "less than"),
     ("split_seed = 7", "split_seed = -7", "split_seed = -7", "greater than or equal to 0"),
     ("split_seed = 7", 'split_seed = "7"', "split_seed = '7'", "valid integer"),
     ('summary = "a test\'s own"', "summary = 3", "summary = 3", "valid string"),
     ('metric = "accuracy"', 'metric = "speed"', "targets.0.metric = 'speed'", "'loss' or 'accuracy'"),
     ('split = "test"', 'split = "train"', "targets.0.split = 'train'", "'train_eval', 'valid' or 'test'"),
     ('commit = "0123abc"', 'commit = "main"', "targets.0.source.commit = 'main'", "pattern"),
     ("width = 0.125", 'width = "narrow"', "width = 'narrow'", "valid number"),
     ("epochs = 2", "epochs = 0", "training.epochs = 0", "greater than or equal to 1")],
)  # fmt: skip
def test_a_wrong_type_or_an_impossible_value_is_refused_with_file_key_and_reason(read, old, new, key, reason):
    message = refusal(read, changed(old, new))
    overlay = " with [tiny]" if old in {"width = 0.125", "epochs = 2"} else ""
    assert f"mine.toml{overlay}: {key}: " in message
    assert reason in message


@pytest.mark.parametrize(
    ("line", "key"),
    [("batch_size = 32", "training.batch_size"), ("epochs = 5", "training.epochs"),
     ("learning_rate = 0.1", "training.learning_rate"), ('dataset = "digits"', "dataset"),
     ('architecture = "3c3d"', "architecture"), ('source = "this test"', "source"), ("seeds = [1, 2, 3]", "seeds"),
     ("split_seed = 7", "split_seed"), ('placements = ["hidden", "first"]', "placements"),
     ("level = 0.5", "targets.0.level"), ('commit = "0123abc"', "targets.0.source.commit")],
)  # fmt: skip
def test_a_missing_key_is_named(read, line, key):
    assert f"mine.toml: the key '{key}' is missing." in refusal(read, changed(f"{line}\n", ""))


def test_every_mistake_is_reported_at_once(read):
    message = refusal(read, changed("epochs = 5", "epoch = 5", changed("l2 = 0.002", "l2 = -1")))
    assert len(message.splitlines()) == 3
    for mistake in ("unknown key 'training.epoch'.", "the key 'training.epochs' is missing.", "training.l2 = -1: "):
        assert message.count(f"mine.toml: {mistake}") == 1
