import importlib
import subprocess
import sys
from typing import get_type_hints

import msgspec
import pytest

from famulus.core import plugins
from famulus.policy.command import Limits
from famulus.policy.plain import Plain
from famulus.testing.check_tool import services

FIRST = ("calculator", "current_datetime", "read_file", "write_file", "edit_file", "list_files",
         "find_in_files", "web_fetch", "shell", "cost_summary")  # fmt: skip


class Nothing:
    async def summary(self, *, days, person=""):
        raise NotImplementedError


class Nowhere:
    async def fetch(self, url, *, method="GET", headers=None, body=b""):
        raise NotImplementedError


@pytest.mark.parametrize("name", plugins.names("tools"))
def test_a_tool_has_the_name_of_its_file_and_says_what_can_be_configured(name):
    module = importlib.import_module(f"famulus.tools.{name}")
    settings = plugins.settings_type(module)()
    given = services(egress=Nowhere(), sandbox=Plain("none", Limits()), ledger=Nothing())
    assert module.build(settings, given).name == name
    assert settings.enabled
    fields = get_type_hints(type(settings), include_extras=True).values()
    assert all(field.__metadata__[0].description for field in fields)


def test_the_first_tools_together_cost_little_of_a_prompt():
    given = services(egress=Nowhere(), sandbox=Plain("none", Limits()), ledger=Nothing())
    tools = [plugins.find("tools", name) for name in FIRST]
    built = [module.build(module.Settings(), given) for module in tools]
    described = [
        {"name": t.name, "description": t.description, "input_schema": t.schema} for t in built
    ]
    assert len(msgspec.json.encode(described)) < 2950


def test_importing_all_tools_brings_no_heavy_library_along():
    names = ", ".join(f"famulus.tools.{name}" for name in FIRST)
    heavy = "{'aiohttp', 'trafilatura', 'email', 'multiprocessing'}"
    code = f"import sys; import {names}; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
