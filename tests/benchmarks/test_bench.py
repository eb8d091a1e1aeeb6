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


def test_figures_of_the_model_layer_come_from_real_requests(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    groups = [f"--only={name}" for name in ("route", "cache", "window", "wires")]
    run = subprocess.run(
        [sys.executable, str(BENCHMARKS), "--quick", *groups, "--json", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    figures = {figure["name"]: figure for figure in json.loads(file.read_text())}
    told = {name for name, figure in figures.items() if figure["goal"] is None}
    assert told == {
        "simple messages recognised",
        *(f"`{w}` request, CPU" for w in ("openai", "anthropic", "openai_responses", "ollama")),
    }
    assert all(figures[name]["ok"] is None for name in told)
    assert figures["hard messages taken for simple"]["ok"]
    shares = [each["measured"] for name, each in figures.items() if name.startswith("cached share")]
    assert len(shares) == 2
    assert all(50 < share < 100 for share in shares)
    largest, refused = (each for name, each in figures.items() if "small window" in name)
    assert largest["measured"] > 1000
    assert refused["measured"] == 0
    wires = [figure for name, figure in figures.items() if name.endswith("request, CPU")]
    assert all(wire["bare"] > 0 and wire["measured"] > 0 for wire in wires)
