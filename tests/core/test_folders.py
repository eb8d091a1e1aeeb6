from pathlib import Path

import pytest

from famulus.core.errors import ConfigError
from famulus.core.folders import workspace_folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "famulus/home"
    folder.mkdir(parents=True)
    return folder


def find(written, home, **kept):
    return workspace_folder(written, home, kept=kept)


def test_without_a_setting_it_is_in_the_home_folder(home):
    assert find("workspace", home) == home / "workspace"


def test_it_may_lie_elsewhere(home, tmp_path):
    assert find(str(tmp_path / "files"), home) == tmp_path / "files"
    assert find("~/files", home) == tmp_path / "files"
    assert find("other", home) == home / "other"


@pytest.mark.parametrize("written", [".", "..", "../..", "/", "~", "/etc", "/usr", "link"])
def test_it_may_not_hold_what_tools_must_not_touch(home, written):
    (home / "link").symlink_to(home.parent)
    with pytest.raises(ConfigError, match=r"^agent\.workspace is "):
        find(written, home)


def test_it_may_not_hold_the_database_or_the_configuration(home, tmp_path):
    data = tmp_path / "data"
    with pytest.raises(ConfigError, match="holds the database"):
        find(str(data), home, **{"the database": data / "db/famulus.db"})


def test_it_may_not_be_a_file(home):
    Path(home / "file").write_text("x")
    with pytest.raises(ConfigError, match="is no folder"):
        find("file", home)


def test_a_user_that_nobody_knows_is_named(home):
    with pytest.raises(ConfigError, match="leads nowhere"):
        find("~nobody-of-that-name/x", home)
