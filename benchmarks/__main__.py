"""Measures the figures that the documentation states, against the program as it is shipped.

python benchmarks [--quick] [--only NAME]... [--json FILE] [--markdown FILE] [--plot FILE]
"""

import argparse
import json
import sys
from pathlib import Path

from figures import GROUPS, LATENCIES, QUICK, Figure, Scale
from report import markdown, plot, table


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="only see that everything works")
    parser.add_argument("--only", action="append", choices=GROUPS, help="measure this group")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page of the docs")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the turns of a long chat")
    options = parser.parse_args()
    scale = QUICK if options.quick else Scale()
    figures: list[Figure] = []
    names = options.only or list(GROUPS)
    for number, name in enumerate(names, 1):
        _progress(f"{number}/{len(names)} {name} …")
        figures += GROUPS[name](scale)
    _progress("")
    print(table(figures))
    if options.json:
        rows = [figure._asdict() | {"ok": figure.ok} for figure in figures]
        options.json.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    if options.markdown:
        options.markdown.write_text(markdown(figures))
    if options.plot and LATENCIES:
        options.plot.write_text(plot(LATENCIES))


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


main()
