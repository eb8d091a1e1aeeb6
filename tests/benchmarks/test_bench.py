"""The benchmark runs and reports; how fast anything was is not tested."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_a_quick_run_measures_real_turns_and_prints_and_writes_the_table(tmp_path: Path) -> None:
    files = [tmp_path / "figures.json", tmp_path / "figures.md"]
    command = [sys.executable, str(BENCHMARKS), "--quick", "--only", "hello"]
    run = subprocess.run(
        [*command, "--json", str(files[0]), "--markdown", str(files[1])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    head, *lines = run.stdout.splitlines()
    assert head.split() == ["figure", "unit", "goal", "measured", "bare", "ratio", "ok"]
    figures = json.loads(files[0].read_text())
    assert [figure["name"] for figure in figures] == [
        "hello turn, median time",
        "hello turn, CPU",
        "first hello request",
    ]
    for line, figure in zip(lines, figures, strict=True):
        assert line.startswith(figure["name"])
        assert figure["name"] in files[1].read_text()
        assert figure["measured"] > 0
    assert figures[2]["measured"] > 1000, "every tool is described to the model"
