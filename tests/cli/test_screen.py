"""What a terminal shows of an answer that comes bit by bit, as a real terminal would show it."""

import asyncio
import os
import pty
import re
import signal
import struct
import termios
from fcntl import ioctl

import pytest

from famulus.testing.fake_vendor import Answer, Fault

pytestmark = pytest.mark.anyio

SECONDS = 30
COLUMNS, ROWS = 40, 12


class Terminal:
    """The rows of a screen that a program writes to: wraps, goes up and wipes out."""

    def __init__(self):
        self.ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.theirs = theirs
        self.rows = [""]
        self._row = self._column = 0
        self._rest = ""

    async def read(self):
        """What comes next, on the rows; nothing when the program has ended."""
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_reader(self.ours, lambda: ready.done() or ready.set_result(None))
        try:
            await asyncio.wait_for(ready, SECONDS)
            data = os.read(self.ours, 10_000)
        except OSError:
            return False
        finally:
            loop.remove_reader(self.ours)
        self._write(self._rest + data.decode())
        return bool(data)

    async def until(self, text):
        while text not in self.text:
            assert await self.read(), self.text

    @property
    def text(self):
        return "\n".join(row.rstrip() for row in self.rows).strip("\n")

    def _write(self, text):
        for piece in re.findall(r"\x1b\[[0-9;?]*[a-zA-Z]|.", text, re.DOTALL):
            if piece == "\n":
                self._row += 1
                self.rows += [""] * (self._row + 1 - len(self.rows))
            elif piece == "\r":
                self._column = 0
            elif piece.endswith("A") and len(piece) > 1:
                self._row = max(0, self._row - int(piece[2:-1] or 1))
            elif piece == "\x1b[J":
                self.rows[self._row] = self.rows[self._row][: self._column]
                del self.rows[self._row + 1 :]
            elif not piece.startswith("\x1b"):
                if self._column == COLUMNS:
                    self._write("\r\n")
                row = self.rows[self._row].ljust(self._column)
                self.rows[self._row] = row[: self._column] + piece + row[self._column + 1 :]
                self._column += 1

    def close(self):
        if self.ours >= 0:
            os.close(self.ours)
        self.ours = -1


@pytest.fixture
def terminal():
    made = Terminal()
    yield made
    made.close()


async def ask(house, terminal, *arguments, **options):
    process = await house.start(
        "ask", *arguments, stdout=terminal.theirs, env={"TERM": "xterm"}, **options
    )
    os.close(terminal.theirs)
    return process


async def ended(process, terminal):
    while await terminal.read():
        pass
    return await asyncio.wait_for(process.wait(), SECONDS)


async def test_an_answer_is_shown_while_it_is_written_and_once(house, terminal):
    house.model.say(Answer(text=("First ", "words, ", "last words.")))
    house.model.fail(Fault(after_events=3, hang=True))
    process = await ask(house, terminal, "hello")
    await terminal.until("First words,")
    process.send_signal(signal.SIGINT)
    assert await ended(process, terminal) == 130
    assert terminal.text == "First words,"


async def test_a_terminal_that_is_closed_ends_it_with_the_code_of_that(house, terminal):
    house.hang()
    process = await ask(house, terminal, "hello")
    await terminal.until("I am")
    terminal.close()
    process.send_signal(signal.SIGHUP)  # as the system does to what has it as its terminal
    async with asyncio.timeout(SECONDS):
        assert await process.communicate() == (None, b"")
    assert process.returncode == 129


async def test_a_whole_answer_is_not_printed_again(house, terminal):
    house.model.say(Answer(text=("One ", "two ", "three.")))
    process = await ask(house, terminal, "hello")
    assert await ended(process, terminal) == 0
    assert terminal.text == "One two three."


@pytest.mark.parametrize("length", [1, 39, 40, 41, 200])
async def test_an_answer_that_begins_anew_is_shown_once(house, terminal, length):
    house.model.say(
        Answer(text=("y" * length, "never")), Answer(text=("The ", "whole ", "answer."))
    )
    house.model.fail(Fault(after_events=2, cut=True), Fault())
    process = await ask(house, terminal, "hello")
    assert await ended(process, terminal) == 0
    assert terminal.text == "The whole answer."


async def test_an_answer_too_long_to_wipe_out_is_said_to_begin_anew(house, terminal):
    house.model.say(Answer(text=("long\n" * 50, "never")), Answer(text=("All of it.",)))
    house.model.fail(Fault(after_events=2, cut=True), Fault())
    process = await ask(house, terminal, "hello")
    assert await ended(process, terminal) == 0
    assert terminal.text.endswith("(It begins anew.)\nAll of it.")


async def test_a_failure_after_the_first_words_is_told_on_standard_error(house, terminal):
    house.model.say(*[Answer(text=("Some words", "never"))] * 9)
    house.model.fail(*[Fault(after_events=2, cut=True)] * 9)
    process = await ask(house, terminal, "hello")
    assert await ended(process, terminal) == 1
    assert b"could not get an answer" in await process.stderr.read()
    assert terminal.text in {"", "Some words"}


async def test_through_a_gateway_it_is_the_same(house, terminal):
    await house.serve()
    house.model.say(Answer(text=("One ", "two ", "three.")))
    process = await ask(house, terminal, "hello")
    assert await ended(process, terminal) == 0
    assert terminal.text == "One two three."


async def test_json_is_whole_on_a_terminal_too(house, terminal):
    process = await ask(house, terminal, "--json", "hello")
    assert await ended(process, terminal) == 0
    assert terminal.text.startswith('{"reply":"Hello."')
