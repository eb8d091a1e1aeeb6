"""The command line. `main` is what `famulus` runs."""

import os
import sys

from famulus import __version__


def main() -> int:
    """Run `sys.argv` and return the exit code: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C."""
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has left. The interpreter's last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _run(arguments: list[str]) -> int:
    if arguments in (["--version"], ["version"]):
        # Scripts ask this often, so it is answered before anything is imported.
        sys.stdout.write(f"famulus {__version__}\n")
        return 0
    from famulus.cli.program import run  # noqa: PLC0415 - the reason stands above

    return run(arguments)
