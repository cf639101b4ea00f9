"""`docs/probes.md`: its probe is installed and trained with, and it lists what there is."""

import json
import re
from pathlib import Path

import pytest

from bnbench.components.probes import PROBES
from support.command_line import invoke
from test_registry import ask, install

DOCUMENT = Path(__file__).parents[2] / "docs" / "probes.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_it_lists_every_probe_with_its_moment_tables_and_options():
    rows = {}
    for line in TEXT.splitlines():
        if line.startswith("| `"):
            name, moment, _, tables, options, _ = (cell.strip() for cell in line.strip("|").split(" | "))
            rows[name.strip("` ")] = (
                moment,
                re.findall(r"`(\w+)`", tables),
                re.findall(r"`(\w+)` \(`?([\w:]+)`?\)", options),
            )
    assert rows == {
        name: (
            row.moment,
            [table.name for table in row.tables],
            [(option, str(default)) for option, default in row.defaults.items()],
        )
        for name in PROBES
        for row in [PROBES.get(name)]
    }


def test_the_probe_of_the_document_is_installed_trained_with_and_read(tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    (entry,) = re.findall(r'^weight_norms = "(.*)"$', TEXT, flags=re.MULTILINE)
    install(tmp_path, "weight-norms", code, f"[bnbench.probes]\nweight_norms = {entry}\n")
    found = ask(
        tmp_path,
        """
        import json, sys
        from bnbench.problem import parse_override
        from bnbench.components.probes import PROBES
        listed = "weight_norms" in PROBES.names() and "torch" not in sys.modules
        key, value = parse_override("probes.weight_norms.p=1")
        import bnbench
        results = bnbench.run(
            "digits_mlp", "vanilla", size="tiny", set={"training.epochs": 1, key: value}, results="runs", workers=0,
            progress=False,
        )
        table = results.table("weight_norms")
        print(json.dumps([listed, sorted(set(table["step"])), list(table["slot"][:3]), float(table["norm"].min())]))
        """,
    )
    listed, steps, slots, least = found
    assert listed
    assert (len(steps), steps[0]) == (11, 0)
    assert slots == ["dense1", "dense2", "dense3"]
    assert least > 0
    # Without the package the run is there, and its other tables.
    (folder,) = (tmp_path / "runs").glob("digits_mlp*")
    assert (folder / "weight_norms.parquet").exists()
    shown = invoke("rank", "--results", tmp_path / "runs", "--json")
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)


def test_a_probe_that_needs_more_memory_than_it_may_is_refused_before_anything_is_written(tmp_path):
    asked = ("run", "digits_mlp", "--size", "tiny", "--variant", "vanilla", "--set", "probes.spectrum.order=100")
    done = invoke(*asked, "--probe-memory", "0.01", "--results", tmp_path / "runs")
    assert done.exit_code == 2
    assert "probe 'spectrum' needs" in done.stderr
    assert "--probe-memory" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("probes.landscap=true", "Did you mean 'probes.landscape'"),
        ("probes.landscape.shedule=even:3", "Did you mean 'probes.landscape.schedule'"),
        ("probes.landscape.schedule=odd:3", "probe 'landscape': schedule 'odd:3' is not known"),
    ],
)
def test_an_unknown_probe_or_option_is_one_message(setting, said, tmp_path):
    done = invoke("run", "digits_mlp", "--size", "tiny", "--set", setting, "--results", tmp_path / "runs")
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
