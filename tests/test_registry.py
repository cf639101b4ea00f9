"""Tables that other packages add to: real packages on a path of their own, in a process of their own."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from bnbench.errors import UserError
from bnbench.registry import Registry, check_name


def install(folder, package, module, entry_points):
    """A package as pip leaves it: a module, and a .dist-info folder with its entry points."""
    name = package.replace("-", "_")
    (folder / f"{name}.py").write_text(textwrap.dedent(module), encoding="utf-8")
    information = folder / f"{name}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    (information / "RECORD").write_text(f"{name}.py,,\n", encoding="utf-8")
    (information / "entry_points.txt").write_text(textwrap.dedent(entry_points), encoding="utf-8")


def ask(folder, program, timeout=60):
    """What a new interpreter that sees the packages of `folder` prints, read as JSON."""
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


COLLECT = """
    import json
    from bnbench.errors import UserError
    from bnbench.components.architectures import ARCHITECTURES
    from bnbench.components.variants import VARIANTS, expand_variants

    def attempt(table, name):
        try:
            return table.get(name).summary
        except UserError as error:
            return str(error)
"""

GOOD_MODULE = """
    from bnbench.components.architectures import Architecture, Conv, GlobalMean
    from bnbench.data.dataset import DATASETS, Dataset
    from bnbench.plan import DataFacts
    from bnbench.components.variants import Affine, AffineRule, Variant

    def layers(classes, width):
        return (Conv("stem", 4, 3), Conv("head", classes, 1, activation=False), GlobalMean())

    small = Architecture("small", "Small", "two convolutions", "a test", 8, layers)
    half = Variant("half", "H", "gamma from a half", "batch",
                   AffineRule(Affine.LEARNED, 0.5), AffineRule(Affine.FIXED, 0.0))

    def identify():
        return DataFacts("stripes", 3, 1, "5" * 64, origin="embedded")

    def load_splits(split_seed):
        raise AssertionError("a plan needs no pixels")

    stripes = Dataset("stripes", "Stripes", "three kinds of stripes", 30, 3, 1, 255, None, None, identify, load_splits)
"""
GOOD_ENTRY_POINTS = """
    [bnbench.architectures]
    small = good_plugin:small
    [bnbench.datasets]
    stripes = good_plugin:stripes
    [bnbench.variants]
    half = good_plugin:half
"""
PROBLEM = """
summary = "stripes"
source = "this test"
dataset = "stripes"
architecture = "small"
placements = ["hidden"]
seeds = [1]
split_seed = 2

[training]
batch_size = 4
epochs = 1
learning_rate = 0.1
"""


def test_a_package_adds_an_architecture_a_data_set_and_a_variant(tmp_path):
    install(tmp_path, "good-plugin", GOOD_MODULE, GOOD_ENTRY_POINTS)
    (tmp_path / "stripes_small.toml").write_text(PROBLEM, encoding="utf-8")
    answer = ask(
        tmp_path,
        """
        import json, sys
        from bnbench.components.architectures import ARCHITECTURES
        from bnbench.data.dataset import DATASETS
        from bnbench.plan import expand_grid
        from bnbench.problem import find_problem
        from bnbench.components.variants import VARIANTS, expand_variants

        names = [list(table) for table in (ARCHITECTURES, DATASETS, VARIANTS)]
        untouched = "good_plugin" not in sys.modules
        problem = find_problem("stripes_small.toml").problem()
        specs = expand_grid(problem, DATASETS.get("stripes").identify(), expand_variants(("half", "vanilla")))
        print(json.dumps({
            "names": names, "untouched": untouched, "ids": [spec.run_id for spec in specs],
            "masks": [spec.mask for spec in specs], "gamma": specs[0].resolved()["variant"]["gamma"]["initial"],
            "layers": [type(layer).__name__ for layer in specs[0].layers()],
        }))
        """,
    )
    architectures, datasets, variants = answer["names"]
    assert architectures[:3] == ["3c3d", "allcnnc", "mlp"]
    assert all(name.startswith(("resnet", "vgg")) for name in architectures[3:-1] if name != "2c2d")
    assert architectures[-1] == "small"
    assert datasets == ["cifar10", "cifar100", "fmnist", "digits", "stripes"]
    assert variants[:5] == ["vanilla", "bn", "bn_beta", "bn_gamma", "bn_gamma_beta"]
    assert variants[-1] == "half"
    assert answer["untouched"], "listing names must not import the package"
    assert answer["masks"] == ["10", "00"]
    assert answer["ids"][0].startswith("stripes_small-half-hidden-s1-")
    assert answer["ids"][1].startswith("stripes_small-vanilla-none-s1-")
    assert answer["gamma"] == 0.5
    assert answer["layers"] == ["Conv", "Conv", "GlobalMean"]


def test_all_still_means_the_five_of_the_study(tmp_path):
    install(tmp_path, "good-plugin", GOOD_MODULE, GOOD_ENTRY_POINTS)
    answer = ask(tmp_path, COLLECT + "    print(json.dumps([row.name for row in expand_variants(('all',))]))")
    assert answer == ["vanilla", "bn", "bn_beta", "bn_gamma", "bn_gamma_beta"]


def test_a_broken_package_breaks_only_its_own_names(tmp_path):
    install(tmp_path, "good-plugin", GOOD_MODULE, GOOD_ENTRY_POINTS)
    install(
        tmp_path, "broken-plugin", "raise RuntimeError('no licence')",
        "[bnbench.variants]\nbroken = broken_plugin:row\n[bnbench.architectures]\nbent = broken_plugin:net\n",
    )  # fmt: skip
    answer = ask(
        tmp_path,
        COLLECT
        + """
    print(json.dumps({
        "names": list(VARIANTS), "vanilla": attempt(VARIANTS, "vanilla"), "half": attempt(VARIANTS, "half"),
        "broken": attempt(VARIANTS, "broken"), "bent": attempt(ARCHITECTURES, "bent"),
        "mlp": attempt(ARCHITECTURES, "mlp"),
    }))
    """,
    )
    assert answer["names"][-2:] == ["broken", "half"]
    assert answer["half"] == "gamma from a half"
    assert answer["vanilla"].startswith("no normalisation")
    assert answer["mlp"].startswith("four dense layers")
    assert answer["broken"] == (
        "variant 'broken' of package 'broken-plugin' cannot be loaded: RuntimeError: no licence\n"
        "The entry point is broken_plugin:row."
    )
    assert "architecture 'bent' of package 'broken-plugin' cannot be loaded" in answer["bent"]


@pytest.mark.parametrize(
    ("point", "reason"),
    [("odd = odd_plugin:absent", "cannot be loaded: AttributeError"),
     ("odd = no_such_module:row", "cannot be loaded: ModuleNotFoundError"),
     ("odd = odd_plugin:number", "is a int, not a Variant"),
     ("odd = odd_plugin:row", "calls itself 'other'"),
     ("../odd = odd_plugin:row", "not a plain name"),
     ("Odd Row = odd_plugin:row", "not a plain name")],
)  # fmt: skip
def test_an_entry_point_that_is_no_row_is_refused_with_the_package_named(tmp_path, point, reason):
    module = """
        from bnbench.components.variants import VARIANTS
        import dataclasses
        number = 3
        row = dataclasses.replace(VARIANTS.get("bn"), name="other")
    """
    install(tmp_path, "odd-plugin", module, f"[bnbench.variants]\n{point}\n")
    name = point.split(" =")[0]
    message, other = ask(
        tmp_path, COLLECT + f"    print(json.dumps([attempt(VARIANTS, {name!r}), attempt(VARIANTS, 'bn')]))"
    )
    assert f"variant '{name}' of package 'odd-plugin' " in message
    assert reason in message
    assert other.startswith("normalisation alone")


ODD_ROWS = """
    import dataclasses
    from bnbench.components.architectures import Architecture, Conv, Flatten, Dense
    from bnbench.components.variants import Affine, AffineRule, Variant

    learned = AffineRule(Affine.LEARNED, 1.0)
    group_norm = Variant("group_norm", "GN", "GroupNorm", normaliser="group norm", gamma=learned, beta=learned)
    half = Variant("half", "H", "gamma from a half", "batch", AffineRule(Affine.LEARNED, 0.5),
                   AffineRule(Affine.FIXED, 0.0))

    class Fancy(Variant):
        def row(self):
            return {}

    fancy = Fancy("fancy", "F", "another row", "batch", learned, learned)
    typo = dataclasses.replace(half, name="typo", gamma=AffineRule("learnd", 1.0))

    @dataclasses.dataclass(frozen=True)
    class Residual:
        name: str

    resnet = Architecture("resnet", "ResNet", "residual", "a test", 8,
                          lambda classes, width: (Residual("block1"), Flatten(), Dense("dense1", classes)))
"""
ODD_POINTS = """
    [bnbench.variants]
    group_norm = odd_rows:group_norm
    half = odd_rows:half
    fancy = odd_rows:fancy
    typo = odd_rows:typo
    [bnbench.architectures]
    resnet = odd_rows:resnet
"""


def test_a_row_with_a_mistake_is_refused_when_it_is_asked_for_and_no_other_is(tmp_path):
    install(tmp_path, "odd-rows", ODD_ROWS, ODD_POINTS)
    names = ["group_norm", "half", "fancy", "typo", "bn"]
    answer = ask(tmp_path, COLLECT + f"    print(json.dumps({{name: attempt(VARIANTS, name) for name in {names!r}}}))")
    assert answer["half"] == "gamma from a half"
    assert answer["bn"].startswith("normalisation alone")
    assert answer["group_norm"] == (
        "variant 'group_norm' of package 'odd-rows' cannot be used: variant 'group_norm': normaliser = 'group norm': "
        "should be a plain name: lower-case letters, digits and underscores, 64 at most\n"
        "The entry point is odd_rows:group_norm."
    )
    assert "'fancy' of package 'odd-rows' is a Fancy, not a Variant" in answer["fancy"]
    assert "variant 'typo': gamma: rule of γ or β: status = 'learnd': should be Affine.ABSENT" in answer["typo"]


def test_nothing_is_trained_or_written_with_a_row_that_is_not_what_it_says(tmp_path):
    install(tmp_path, "odd-rows", ODD_ROWS, ODD_POINTS)
    problem = PROBLEM.replace("stripes", "digits").replace('"small"', '"resnet"')
    (tmp_path / "digits_resnet.toml").write_text(problem, encoding="utf-8")
    answer = ask(
        tmp_path,
        """
        import json, pathlib
        from click.testing import CliRunner
        from bnbench.cli import main

        def told(*arguments):
            done = CliRunner().invoke(main, arguments)
            return done.exit_code, done.output

        print(json.dumps([
            told("run", "digits_mlp", "--size", "tiny", "--variant", "group_norm", "--results", "R"),
            told("run", "digits_mlp", "--size", "tiny", "--variant", "bn", "--variant", "typo", "--results", "R"),
            told("run", "digits_resnet.toml", "--variant", "bn", "--results", "R"),
            told("show", "digits_resnet.toml"),
            told("list"),
            told("show", "digits_mlp", "--variant", "half"),
            pathlib.Path("R").exists(),
        ]))
        """,
    )
    *refused, listed, shown, written = answer
    assert [code for code, _ in refused] == [2, 2, 2, 2]
    assert "normaliser = 'group norm'" in refused[0][1]
    for _, text in refused[2:]:
        assert "architecture 'resnet': there is a layer of an unknown kind, Residual" in text
        assert "Known kinds of layers: Conv, Dense, MaxPool, Dropout, Flatten, GlobalMean, Norm, Residual." in text
    assert (listed[0], shown[0], written) == (0, 0, False)


def test_a_name_of_this_package_cannot_be_taken_over(tmp_path):
    install(tmp_path, "greedy-plugin", GOOD_MODULE, "[bnbench.variants]\nvanilla = greedy_plugin:half\n")
    answer = ask(
        tmp_path,
        COLLECT + "    print(json.dumps([list(VARIANTS), attempt(VARIANTS, 'vanilla'), attempt(VARIANTS, 'bn')]))",
    )
    names, message, other = answer
    assert names.count("vanilla") == 1
    assert "variant 'vanilla' is offered by bnbench itself and package 'greedy-plugin'" in message
    assert "uninstall" in message
    assert other.startswith("normalisation alone")


def test_two_packages_cannot_share_a_name(tmp_path):
    install(tmp_path, "good-plugin", GOOD_MODULE, GOOD_ENTRY_POINTS)
    install(tmp_path, "late-plugin", GOOD_MODULE, "[bnbench.variants]\nhalf = late_plugin:half\n")
    message, other = ask(
        tmp_path, COLLECT + "    print(json.dumps([attempt(VARIANTS, 'half'), attempt(ARCHITECTURES, 'small')]))"
    )
    assert message.startswith("variant 'half' is offered by package '")
    assert "'good-plugin'" in message
    assert "'late-plugin'" in message
    assert other == "two convolutions"


EVERY_KIND = """
    from dataclasses import replace

    import numpy as np

    from bnbench.components.architectures import Architecture, Conv, Dense, GlobalMean
    from bnbench.data.dataset import DATASETS, Dataset
    from bnbench.measurement import Column, Table
    from bnbench.components.normalisers import Normaliser
    from bnbench.components.optimisers import OPTIMISERS
    from bnbench.components.probes import ProbeRow
    from bnbench.components.rate_schedules import RateSchedule
    from bnbench.components.reparametrisations import Reparametrisation
    from bnbench.report.figures.registry import FIGURES
    from bnbench.components.variants import Affine, AffineRule, Variant

    def scaled(site, options):
        from torch import nn

        class Half(nn.Module):
            def forward(self, x):
                return x / 2

        return Half()

    def doubled(site, options):
        from bnbench.network.reparametrisations import Reparametrised

        class Double(Reparametrised):
            def forward(self, drawn):
                return drawn * 2

        return Double()

    def sgd(groups):
        import torch

        return torch.optim.SGD(groups)

    def lengths(options):
        from bnbench.training.events import Measured

        def measure(moment):
            length = sum(float(each.norm()) for each in moment.network.parameters())
            yield Measured("lengths", {"step": np.array([moment.step]), "length": np.array([length])})

        return measure

    def layers(classes, width):
        return (Conv("stem", 4, 3), GlobalMean(), Dense("head", classes, activation=False))

    def identify():
        return replace(DATASETS.get("digits").identify(), name="ours")

    def splits(seed):
        return DATASETS.get("digits").load_splits(seed)

    here = f"{__name__}:"
    net = Architecture("ours", "Ours", "small", "a test", 8, layers)
    data = replace(DATASETS.get("digits"), name="ours", identify=identify, load_splits=splits)
    norm = Normaliser("ours", "ours", "x / 2", "a test", here + "scaled")
    weights = Reparametrisation("ours", "ours", "2 V", "a test", here + "doubled")
    variant = Variant("ours", "OURS", "ours", "ours", AffineRule(Affine.LEARNED, 1.0), AffineRule(Affine.LEARNED, 0.0),
                      weights="ours")
    mover = replace(OPTIMISERS.get("sgd"), name="ours", build=here + "sgd", settings=())
    falling = RateSchedule("ours", "ours", "falls", "a test", lambda step, course: course.learning_rate / (1 + step))
    probe = ProbeRow("ours", "ours", "lengths", moment="step", schedule="even:2", build=here + "lengths",
                     tables=(Table("lengths", "lengths", (Column("step", "int64", "step"),
                                                          Column("length", "float64", "length")), key=("step",)),))
    figure = replace(FIGURES.get("curves"), name="ours")
"""
EVERY_POINT = """
    [bnbench.architectures]
    ours = every_kind:net
    [bnbench.datasets]
    ours = every_kind:data
    [bnbench.normalisers]
    ours = every_kind:norm
    [bnbench.reparametrisations]
    ours = every_kind:weights
    [bnbench.variants]
    ours = every_kind:variant
    [bnbench.optimisers]
    ours = every_kind:mover
    [bnbench.rate_schedules]
    ours = every_kind:falling
    [bnbench.probes]
    ours = every_kind:probe
    [bnbench.figures]
    ours = every_kind:figure
"""


def test_a_package_with_a_row_of_every_kind_trains_in_a_worker_is_listed_recorded_and_merged(tmp_path):
    install(tmp_path, "every-kind", EVERY_KIND, EVERY_POINT)
    groups = [line.strip("[] ") for line in EVERY_POINT.splitlines() if "[" in line]
    broken = "".join(f"[{group}]\nbroken = broken_kind:row\n" for group in groups)
    install(tmp_path, "broken-kind", "raise RuntimeError('no licence')", broken)
    problem = (
        PROBLEM.replace("stripes", "ours").replace('"small"', '"ours"').replace("batch_size = 4", "batch_size = 24")
    )
    problem += 'images = 96\noptimiser = "ours"\nschedule = "ours"\n\n[probes.ours]\nschedule = "even:3"\n'
    (tmp_path / "ours.toml").write_text(problem, encoding="utf-8")
    ran, merged, ranked, drawn, listed, refused, document, lengths = ask(
        tmp_path,
        """
        import json, pathlib
        import pyarrow.parquet
        from click.testing import CliRunner
        from bnbench.cli import main
        from bnbench.execution.components import REGISTRIES
        from bnbench.report.figures.registry import FIGURES

        def told(*arguments):
            done = CliRunner().invoke(main, arguments)
            return done.exit_code, done.output

        def attempt(table):
            try:
                return str(table.get("broken"))
            except Exception as error:
                return str(error)

        if __name__ == "__main__":
            ran = told("run", "ours.toml", "--variant", "ours", "--workers", "1", "--results", "a")
            merged = told("merge", "a", "--results", "b")
            (path,) = pathlib.Path("b").glob("*/run.json")
            rows = pyarrow.parquet.read_table(path.parent / "lengths.parquet").to_pylist()
            print(json.dumps([
                ran, merged, told("rank", "--results", "b"),
                told("plot", "--kind", "ours", "--results", "b", "--output", "figures"),
                [told("list", f"--{what.replace('_', '-')}") for what in REGISTRIES],
                [attempt(table) for table in (*REGISTRIES.values(), FIGURES)],
                json.loads(path.read_text()), [[row["step"], row["length"]] for row in rows],
            ]))
        """,
        timeout=300,
    )
    assert [ran[0], merged[0], ranked[0], drawn[0]] == [0, 0, 0, 0], (ran, merged, ranked, drawn)
    assert "OURS" in ranked[1]
    for code, text in listed:
        assert code == 0
        assert "every-kind 1.0" in text and "cannot be used: " in text
    assert all(
        "'broken' of package 'broken-kind' cannot be loaded: RuntimeError: no licence" in each for each in refused
    )
    assert len(refused) == len(groups)
    kinds = {each["kind"]: each for each in document["provenance"]["plugins"]}
    assert set(kinds) == {
        "variant", "normaliser", "reparametrisation", "architecture", "dataset", "optimiser", "rate schedule", "probe",
    }  # fmt: skip
    assert kinds["probe"] == {"kind": "probe", "name": "ours", "source": "every-kind", "version": "1.0"}
    assert [step for step, _ in lengths] == [0, 1, 3, 4]


def test_rows_of_this_package_keep_their_order_and_are_registered_once():
    table = Registry("colour", str, "bnbench.tests.no_such_group")
    assert table.register("red", "#f00") == "#f00"
    table.register("blue", "#00f")
    with pytest.raises(ValueError, match="colour 'red' is registered twice"):
        table.register("red", "#e00")
    assert (table.names(), list(table)) == (["red", "blue"], ["red", "blue"])
    assert ("red" in table, "green" in table) == (True, False)
    assert table.get("red") == "#f00"
    with pytest.raises(TypeError, match="colour 'green' is a int, not a str"):
        table.register("green", 3)
    with pytest.raises(UserError, match=r"unknown colour 'read'\. Did you mean 'red'\?"):
        table.get("read")


def test_a_session_takes_no_name_of_this_package_or_another(tmp_path):
    install(tmp_path, "good-plugin", GOOD_MODULE, GOOD_ENTRY_POINTS)
    answers = ask(
        tmp_path,
        COLLECT
        + """
    from dataclasses import replace

    def register(name):
        try:
            return VARIANTS.register_for_session(replace(VARIANTS.get("bn"), name=name)).name
        except UserError as error:
            return str(error)

    told = [register(name) for name in ("bn", "half", "mine", "Mine")]
    print(json.dumps([told, VARIANTS.names(), VARIANTS.is_third_party("mine"), VARIANTS.is_of_session("half")]))
    """,
    )
    told, names, third_party, of_session = answers
    assert "'bn' is there already" in told[0]
    assert "'half' is there already" in told[1]
    assert told[2] == "mine"
    assert "plain name" in told[3]
    assert names[-2:] == ["half", "mine"]
    assert third_party and not of_session


def test_a_row_whose_name_is_too_long_is_told_the_limit():
    with pytest.raises(UserError, match="64 characters at most"):
        check_name("variant", "a" * 65)
    check_name("variant", "a" * 64)
