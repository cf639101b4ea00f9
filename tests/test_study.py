"""Studies: what ships, how it expands to runs, and what a mistaken file is told."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from bnbench.claim import Run, expand_part, runs_of
from bnbench.components.variants import STUDIED
from bnbench.errors import UserError
from bnbench.plan import DataFacts
from bnbench.shipped import shipped_folder
from bnbench.study import find_study, plan_study, read_study, study_files, study_problem_files, study_problems

THESIS = find_study("thesis")
RUNS_A_SEED = {
    "fig-4.1": 15,
    "fig-4.2": 10,
    "fig-4.3": 10,
    "fig-4.4": 10,
    "fig-4.5": 4,
    "fig-A.1": 8,
    "fig-A.4": 8,
    "fig-A.7": 8,
    "fig-A.10": 8,
    "fig-A.13": 12,
    "fig-A.16": 12,
}


def planned(study, size="full", among=(), **options):
    problems = study_problems(study, study_problem_files(study, among), size)
    data = {
        name: DataFacts(
            problem.dataset, 100 if "100" in problem.dataset else 10, 3, f"{index:064x}", "official archive"
        )
        for index, (name, problem) in enumerate(problems.items())
    }
    return plan_study(study, problems, data, **options)


def test_the_thesis_is_eleven_experiments_and_105_runs_a_seed():
    plan = planned(THESIS)
    seen: set[str] = set()
    own = {}
    for each in plan.experiments:
        ids = {spec.run_id for spec in each.specs}
        own[each.experiment.id] = len(ids - seen)
        seen |= ids
    assert own == RUNS_A_SEED
    assert len(plan.specs) == len(seen) == sum(RUNS_A_SEED.values()) == 105
    assert len(planned(THESIS, seeds=3).specs) == 315


def test_vanilla_is_shared_over_placements_and_never_over_learning_rates():
    vanilla = [spec for spec in planned(THESIS).specs if spec.variant.name == "vanilla"]
    assert len(vanilla) == len({(spec.problem, spec.training.learning_rate) for spec in vanilla}) == 9


def test_equal_masks_are_one_run(tmp_path):
    text = own_study(placements='["first", "first:1", "conv1", "100000"]')
    plan = planned(read_study(written(tmp_path, text)))
    assert [spec.placement for spec in plan.specs] == ["first"]


def test_runs_come_seed_by_seed_and_in_the_order_of_the_experiments():
    plan = planned(THESIS, seeds=2)
    assert [spec.seed for spec in plan.specs] == [4842821] * 105 + [42] * 105
    expected = list(dict.fromkeys(s.run_id for e in plan.experiments for s in e.specs if s.seed == 42))
    assert [spec.run_id for spec in plan.specs[105:]] == expected


def test_only_some_problems():
    part, whole = planned(THESIS, among=["cifar10_3c3d"]), planned(THESIS)
    assert [each.experiment.id for each in part.experiments] == ["fig-4.1", "fig-4.2", "fig-A.1", "fig-A.4"]
    assert [each.name for each in part.problems] == ["cifar10_3c3d"]
    assert [s.run_id for s in part.specs] == [s.run_id for s in whole.specs if s.problem == "cifar10_3c3d"]
    assert len(planned(THESIS, among=["cifar10_3c3d"], only=["fig-4.1"]).specs) == 5
    assert THESIS.chosen_problems(["cifar100_3c3d", "cifar10_3c3d"]) == ("cifar10_3c3d", "cifar100_3c3d")
    with pytest.raises(UserError, match=r"unknown problem 'cifar10_3d3c'\. Did you mean 'cifar10_3c3d'\?"):
        planned(THESIS, among=["cifar10_3d3c"])
    with pytest.raises(UserError, match=r"fig-4\.3: no run of cifar10_3c3d\nExperiments with it: fig-4\.1, fig-4\.2,"):
        planned(THESIS, among=["cifar10_3c3d"], only=["fig-4.3"])


def test_a_problem_that_a_study_names_by_a_path_has_its_files_name(tmp_path):
    study = read_study(written(tmp_path, own_study('mine.toml", "digits_mlp')))
    assert study.chosen_problems(["mine"]) == (str(tmp_path / "mine.toml"),)
    assert study.chosen_problems([str(tmp_path / "mine.toml")]) == (str(tmp_path / "mine.toml"),)


def test_only_some_experiments():
    plan = planned(THESIS, only=["fig-A.13", "fig-4.2"])
    assert [each.experiment.id for each in plan.experiments] == ["fig-4.2", "fig-A.13"]
    assert len(plan.specs) == 10 + 13
    assert [problem.name for problem in plan.problems] == ["cifar10_3c3d", "cifar100_allcnnc"]


def test_the_released_codes_reading_is_the_same_without_l2():
    code = find_study("thesis_code")
    assert code.experiments == THESIS.experiments
    assert code.claims == THESIS.claims
    assert code.reading != THESIS.reading
    assert {spec.training.l2 for spec in planned(code).specs} == {0.0}
    assert {spec.training.l2 for spec in planned(THESIS).specs} == {0.002, 0.0005}
    assert not {s.setting_id for s in planned(code).specs} & {s.setting_id for s in planned(THESIS).specs}


def test_the_tiny_study_is_the_same_grid():
    tiny = planned(THESIS, "tiny")
    assert len(tiny.specs) == 105
    assert {spec.size for spec in tiny.specs} == {"tiny"}


def test_the_figures_of_the_thesis():
    figures = {f.number: (f.kind, e.panels(f)) for e in THESIS.experiments for f in e.figures}
    chapter_4, appendix = [f"4.{n}" for n in range(1, 14)], [f"A.{n}" for n in range(1, 19)]
    assert sorted(figures) == sorted(chapter_4 + appendix)
    curves = {number for number, (kind, _) in figures.items() if kind == "curves"}
    assert curves == {"4.1", "4.2", "4.3", "4.4", "4.5", "A.1", "A.4", "A.7", "A.10", "A.13", "A.16"}
    kind, panels = figures["4.1"]
    assert [(panel.letter, panel.problem) for panel in panels] == [
        ("a", "cifar10_3c3d"),
        ("b", "cifar100_3c3d"),
        ("c", "cifar100_allcnnc"),
    ]
    assert all(panel.variants == STUDIED for panel in panels)
    kind, panels = figures["A.14"]
    assert kind == "beta"
    assert [(panel.letter, panel.variants, panel.placement) for panel in panels] == [
        ("A", ("bn_gamma_beta",), "first"),
        ("B", ("bn_beta",), "first"),
        ("C", ("bn_gamma_beta",), "penultimate"),
        ("D", ("bn_beta",), "penultimate"),
    ]
    assert [panel.lr_factor for panel in figures["4.2"][1]] == [0.1, 10.0]


def test_a_figure_can_name_the_variants_it_shows():
    (start, *_) = find_study("davis2021").experiments
    curves, gamma = (start.panels(figure) for figure in start.figures)
    assert [panel.variants for panel in curves] == [start.variant_names]
    models = ["bn_gamma_beta", "bn_slow_gamma", "bn_g01", "bn_davis"]
    assert [(panel.letter, *panel.variants) for panel in gamma] == list(zip("ABCD", models, strict=True))


def test_every_claim_is_there_and_all_but_the_conjecture_can_be_decided():
    assert [claim.id for claim in THESIS.claims] == [f"c{n}" for n in range(1, 29)]
    assert [claim.id for claim in THESIS.claims if not claim.parts] == ["c22"]
    deciding = {name for experiment in THESIS.experiments for name in experiment.claims}
    assert deciding == {claim.id for claim in THESIS.claims} - {"c22"}


def test_the_outlook_decides_the_conjecture_with_runs_of_its_own_and_some_of_the_studys():
    outlook = find_study("thesis_outlook")
    (claim,) = outlook.claims
    assert claim.id == "c22"
    assert "thesis_outlook" in THESIS.claim("c22").remark
    compared = [(part.rule, part.measure, part.a.placement, part.a.variant, part.b.variant) for part in claim.parts]
    assert compared == [
        ("similar", "final accuracy", "hidden", "bn_last_only", "bn_gamma_beta"),
        ("similar", "final accuracy", "every", "bn_output_only", "bn_gamma_beta"),
        ("similar", "final accuracy", "every", "bn_gamma_output", "bn_gamma_beta"),
    ]
    runs = frozenset().union(*(experiment.runs for experiment in outlook.experiments))
    assert {run for part in claim.parts for run in runs_of(part)} <= runs
    shared = runs & frozenset().union(*(experiment.runs for experiment in THESIS.experiments))
    assert len(runs) == 8
    assert {(run.variant, run.placement) for run in shared} == {
        ("bn", "hidden"), ("bn_gamma_beta", "hidden"),
        ("bn", "every"), ("bn_beta", "every"), ("bn_gamma_beta", "every"),
    }  # fmt: skip


def test_an_experiment_decides_only_claims_that_look_at_its_runs():
    for experiment in THESIS.experiments:
        for name in experiment.claims:
            looked_at = {run for part in THESIS.claim(name).parts for run in runs_of(part)}
            assert looked_at & experiment.runs, (experiment.id, name)


# --- parts as they are written ----------------------------------------------------------------------------------


def test_lists_multiply_out_and_what_stands_above_holds_for_each_run():
    parts = expand_part(
        {
            "rule": "greater",
            "measure": ["final accuracy", "early accuracy"],
            "problem": "p",
            "lr_factor": [0.1, 10.0],
            "a": ["bn", {"variant": "bn_beta", "placement": "every"}],
            "b": "vanilla",
        }
    )
    assert len(parts) == len({str(part) for part in parts}) == 8
    assert {part["a"]["lr_factor"] == part["b"]["lr_factor"] for part in parts} == {True}
    assert parts[0] == {
        "rule": "greater",
        "measure": "final accuracy",
        "a": {"problem": "p", "lr_factor": 0.1, "variant": "bn"},
        "b": {"problem": "p", "lr_factor": 0.1, "variant": "vanilla"},
    }
    assert {part["a"].get("placement") for part in parts} == {None, "every"}


def test_among_makes_every_pair():
    parts = expand_part({"rule": "similar", "measure": "final loss", "problem": "p", "among": list("wxyz")})
    pairs = [(part["a"]["variant"], part["b"]["variant"]) for part in parts]
    assert pairs == list(itertools.combinations("wxyz", 2))


def test_pooled_runs_stay_one_part():
    (part,) = expand_part(
        {"rule": "monotonic", "parameter": "beta", "pooled": [{"problem": ["p", "q"], "variant": ["x", "y"]}]}
    )
    assert [(run["problem"], run["variant"]) for run in part["pooled"]] == list(itertools.product("pq", "xy"))


def test_runs_of_a_part_are_named_once():
    (claim,) = [claim for claim in THESIS.claims if claim.id == "c28"]
    assert runs_of(claim.parts[0]) == (
        Run(problem="cifar100_allcnnc", variant="bn_gamma_beta", placement="hidden", lr_factor=1.0),
    )


# --- files ------------------------------------------------------------------------------------------------------

CLAIM = """
[[claims]]
id = "better"
figure = "1"
text = "BN is better"
[[claims.parts]]
rule = "greater"
measure = "final accuracy"
problem = "digits_3c3d"
a = "bn"
b = "vanilla"
"""


def own_study(problem="digits_3c3d", placements='["hidden"]', extra="", claims="", top="") -> str:
    return f"""
summary = "mine"
source = "this test"
reading = "as it stands"
{top}
[[experiments]]
id = "one"
summary = "the first"
problems = ["{problem}"]
variants = ["bn"]
placements = {placements}
{extra}
{claims}
"""


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_study_of_the_users_own_with_a_problem_beside_it(tmp_path, monkeypatch):
    problem = (shipped_folder("problems") / "digits_3c3d.toml").read_text(encoding="utf-8")
    (tmp_path / "sub").mkdir()
    written(tmp_path / "sub", problem, "wide.toml")
    claims = CLAIM.replace("digits_3c3d", "wide.toml").replace('"vanilla"', '"bn"')
    written(tmp_path / "sub", own_study("wide.toml", extra='claims = ["better"]', claims=claims))
    monkeypatch.chdir(tmp_path)
    study = find_study("sub/mine.toml")
    assert study.name == "mine"
    (spec,) = planned(study).specs
    assert spec.problem == "wide"
    assert study.claims[0].parts[0].a.problem in study.problem_references


def test_a_study_extends_one_beside_it_and_lays_its_settings_over(tmp_path):
    written(tmp_path, own_study(), "base.toml")
    path = written(tmp_path, 'extends = "base.toml"\nreading = "wide"\noverrides = ["width=0.5"]\n')
    study = read_study(path)
    assert (study.name, study.reading, study.summary) == ("mine", "wide", "mine")
    assert [spec.width for spec in planned(study).specs] == [0.5]


@pytest.mark.parametrize(
    ("text", "needles"),
    [
        (own_study(extra="lr_factor = [1.0]"), ("unknown key 'experiments.0.lr_factor'", "'lr_factors'")),
        (own_study(top="redaing = 1"), ("unknown key 'redaing'", "'reading'")),
        (own_study(extra="lr_factors = [0.0]"), ("lr_factors", "greater than 0")),
        (own_study(extra='claims = ["c9"]'), ("unknown claim 'c9'",)),
        (own_study(extra='figures = [{ number = "1", kind = "pie" }]'), ("pie", "curves")),
        (own_study(extra='figures = [{ number = "1", kind = "beta", placements = ["every"] }]'), ("every", "hidden")),
        (own_study(extra='figures = [{ number = "1", kind = "gamma" }]'), ("figure 1", "no variant 'bn_gamma_beta'")),
        (own_study(extra='figures = [{ number = "1", kind = "curves", variants = ["bnn"] }]'), ("no variant 'bnn'",)),
        (own_study(top='overrides = ["training.l3=0"]'), ("training.l3",)),
        (own_study(extra='claims = ["better"]', claims=CLAIM), ("better", "vanilla", "no experiment that names it")),
        (own_study(claims=CLAIM.replace('"greater"', '"larger"')), ("one of the rules", "greater", "monotonic")),
        (own_study(claims=CLAIM.replace("final accuracy", "accuracy")), ("final accuracy", "early accuracy")),
        (own_study(claims=CLAIM.replace('b = "vanilla"', "")), ("b.variant", "missing")),
        (own_study().replace('reading = "as it stands"', ""), ("'reading' is missing",)),
        (own_study() + own_study()[own_study().index("[[experiments]]") :], ("'one'", "twice")),
        ('extends = "mine.toml"', ("extend itself",)),
        ('extends = "thesys"', ("unknown study 'thesys'", "'thesis'")),
        ("name = 'x'", ("'name'",)),
        ("[[", ("TOML",)),
    ],
)
def test_a_mistake_in_a_file_is_named(text, needles, tmp_path):
    with pytest.raises(UserError) as caught:
        read_study(written(tmp_path, text))
    for needle in needles:
        assert needle in str(caught.value)


def test_mistakes_outside_the_file():
    with pytest.raises(UserError, match=r"unknown study 'thesiss'\. Did you mean 'thesis'"):
        find_study("thesiss")
    with pytest.raises(UserError, match="cannot be read"):
        find_study("absent.toml")
    with pytest.raises(UserError, match=r"unknown experiment 'fig-4\.9'"):
        planned(THESIS, only=["fig-4.9"])
    with pytest.raises(UserError, match="unknown claim 'c29'"):
        THESIS.claim("c29")
    with pytest.raises(UserError, match="10 seeds, 11"):
        planned(THESIS, seeds=11)


def test_the_shipped_studies_are_found():
    assert list(study_files()) == [
        "davis2021", "frankle2020", "ghorbani2019", "normalisers", "parts", "peerthum2023", "santurkar2018", "thesis",
        "thesis_code", "thesis_outlook",
    ]  # fmt: skip


def test_the_study_in_the_documentation_is_one(tmp_path):
    text = (Path(__file__).parents[1] / "docs" / "claims.md").read_text(encoding="utf-8")
    study = read_study(written(tmp_path, text.split("```toml\n")[1].split("```")[0]))
    assert [len(claim.parts) for claim in study.claims] == [2]
    assert len(planned(study).specs) == 3
