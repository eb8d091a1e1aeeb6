import json

import pytest

from famulus.testing.check_tool import context, services


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture
def call(workspace):
    """Calls a tool module's tool and returns its answer."""

    async def ask(module, given=None, **arguments):
        tool = module.build(module.Settings(), services(**(given or {})))
        return await tool.call(context(workspace), json.dumps(arguments))

    return ask


@pytest.fixture
def text(call):
    async def ask(module, given=None, **arguments):
        return (await call(module, given, **arguments)).parts[0].text

    return ask
