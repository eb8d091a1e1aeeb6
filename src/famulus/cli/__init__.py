"""The command line. `main` is what `famulus` runs."""

import os
import sys

from famulus import __version__


def main() -> int:
    """Run `sys.argv` and return the exit code: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C."""
    _open_streams()
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has left.
        _forget_output()
        return 1
    except OSError:
        # `run` has told it where it happened there.
        _forget_output()
        return 1
    return code


def _run(arguments: list[str]) -> int:
    if arguments in (["--version"], ["version"]):
        # Scripts ask this often, so it is answered before anything is imported.
        sys.stdout.write(f"famulus {__version__}\n")
        return 0
    from famulus.cli.program import run  # noqa: PLC0415 - the reason stands above

    return run(arguments)


def _open_streams() -> None:
    """Let nothing that is opened later take the place of a stream that was closed, and no
    character that a terminal lacks end the program.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        stream = getattr(sys, name)
        if stream is None:
            # Standard output can be opened, but not written: whoever closed it gets no answer.
            os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _forget_output() -> None:
    """The interpreter's last flush must not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
