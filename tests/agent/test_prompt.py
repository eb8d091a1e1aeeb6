import pytest

from famulus.agent.prompt import WORKSPACE_FILES, Prompt, release_templates, template
from famulus.core.errors import ConfigError


def prompt(tmp_path, folder=None):
    return Prompt(name="Jeeves", workspace=tmp_path / "workspace", folder=folder)


def test_templates_are_released_and_never_overwritten(tmp_path):
    workspace = tmp_path / "workspace"
    release_templates(workspace)
    assert {each.name for each in workspace.iterdir()} == set(WORKSPACE_FILES)
    (workspace / "USER.md").write_text("I am Ann.")
    release_templates(workspace)
    assert (workspace / "USER.md").read_text() == "I am Ann."


def test_an_untouched_template_costs_no_token(tmp_path):
    before = prompt(tmp_path).system("web")
    release_templates(tmp_path / "workspace")
    assert prompt(tmp_path).system("web") == before
    assert template("USER.md") not in before


def test_the_name_is_in_the_prompt(tmp_path):
    assert prompt(tmp_path).system("web").startswith("You are Jeeves,")


def test_the_parts_have_a_fixed_order(tmp_path):
    folder = tmp_path / "prompts"
    (folder / "policies").mkdir(parents=True)
    (folder / "channels").mkdir()
    (folder / "base.md").write_text("base {name}")
    (folder / "policies" / "b.md").write_text("second")
    (folder / "policies" / "a.md").write_text("first")
    (folder / "channels" / "web.md").write_text("in the web")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for name in reversed(WORKSPACE_FILES):
        (workspace / name).write_text(f"text of {name}")
    text = prompt(tmp_path, folder).system("web")
    order = ["base Jeeves", "first", "second", "in the web", *WORKSPACE_FILES]
    places = [text.index(each) for each in order]
    assert places == sorted(places)
    assert "in the web" not in prompt(tmp_path, folder).system("telegram")


def test_an_edit_is_seen_without_a_restart(tmp_path):
    release_templates(tmp_path / "workspace")
    built = prompt(tmp_path)
    before = built.system("web")
    (tmp_path / "workspace" / "SOUL.md").write_text("Be terse.")
    assert "Be terse." in built.system("web")
    assert built.system("web").startswith(before)


def test_a_link_in_the_workspace_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("the key")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "IDENTITY.md").symlink_to(tmp_path / "secret")
    assert "the key" not in prompt(tmp_path).system("web")
    release_templates(workspace)
    assert (tmp_path / "secret").read_text() == "the key"


@pytest.mark.parametrize("content", [None, "", "  \n"])
def test_a_prompt_pack_without_a_base_stops_the_start(tmp_path, content):
    folder = tmp_path / "prompts"
    folder.mkdir()
    if content is not None:
        (folder / "base.md").write_text(content)
    with pytest.raises(ConfigError, match=r"agent\.prompts: .*base\.md"):
        prompt(tmp_path, folder)


def test_a_template_that_was_deleted_does_not_come_back(tmp_path):
    workspace = tmp_path / "workspace"
    release_templates(workspace)
    (workspace / "SOUL.md").unlink()
    release_templates(workspace)
    assert not (workspace / "SOUL.md").exists()


@pytest.mark.parametrize("name", ["policies/a.md", "channels/web.md"])
@pytest.mark.parametrize("content", [b"", b" \n", b"caf\xe9"])
def test_a_file_of_a_prompt_pack_that_says_nothing_stops_the_start(tmp_path, name, content):
    folder = tmp_path / "prompts"
    (folder / name).parent.mkdir(parents=True)
    (folder / "base.md").write_text("base")
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"agent\.prompts: .*{name}"):
        prompt(tmp_path, folder)


def test_a_file_that_is_cut_off_says_so(tmp_path, caplog):
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "AGENTS.md").write_text("x" * 40_000)
    text = prompt(tmp_path).system("web")
    assert text.endswith("x\n[AGENTS.md is cut off here, after 32,768 bytes.]")
    assert "AGENTS.md bytes=40000" in caplog.text


def test_a_linked_file_of_a_prompt_pack_is_read(tmp_path):
    folder = tmp_path / "prompts"
    (folder / "policies").mkdir(parents=True)
    (folder / "base.md").write_text("base")
    (tmp_path / "shared.md").write_text("Be kind.")
    (folder / "policies/a.md").symlink_to(tmp_path / "shared.md")
    assert "Be kind." in prompt(tmp_path, folder).system("web")


def test_words_of_the_configuration_take_the_place_of_the_base_prompt(tmp_path):
    made = Prompt(name="Jeeves", workspace=tmp_path, folder=None, base="You are {name}, a butler.")
    assert made.system("web") == "You are Jeeves, a butler."


def test_blank_words_of_the_configuration_leave_the_base_prompt_as_it_is(tmp_path):
    made = Prompt(name="Jeeves", workspace=tmp_path, folder=None, base=" \n")
    assert made.system("web") == Prompt(name="Jeeves", workspace=tmp_path, folder=None).system(
        "web"
    )
