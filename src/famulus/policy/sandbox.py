"""Finds what can contain commands on this machine."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from famulus.core.errors import SandboxUnavailable
from famulus.core.protocols import Sandbox
from famulus.policy.bubblewrap import Bubblewrap
from famulus.policy.command import Limits
from famulus.policy.plain import Plain


async def find_sandbox(
    wanted: Literal["auto", "bubblewrap", "none"] = "auto",
    limits: Limits | None = None,
    *,
    network: bool = False,
) -> tuple[Sandbox | None, str]:
    """What can contain commands here, with this machine's network or without where that can be
    kept from them; or None and a sentence that says why and how to mend it.
    """
    limits = limits or Limits()
    if wanted == "none":
        return Plain("none", limits), ""
    reason = "bubblewrap is not installed. Install it: apt install bubblewrap (0.8 or newer)."
    if program := shutil.which("bwrap"):
        bubblewrap = Bubblewrap(program, limits, network=network)
        reason = await _trouble(bubblewrap)
        if not reason:
            return bubblewrap, ""
    if wanted == "auto" and inside_container():
        return Plain("container", limits), ""
    return None, reason


def contained(name: str) -> str:
    """What stands between a command of the model and this machine, for the sandbox of that name."""
    known = {
        "bubblewrap": "Commands run in bubblewrap and see the workspace only.",
        "container": "Commands run in this container without a sandbox of their own, so that they"
        " can read the home and its keys.",
        "none": "Commands run without a sandbox and can do all that you can.",
        "": "Commands are not offered.",
    }
    return known.get(name, f"Commands run in {name}.")


def inside_container(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> bool:
    """Whether someone drew a container around this process."""
    marks = (root / ".dockerenv", root / "run/.containerenv")
    return any(mark.exists() for mark in marks) or "KUBERNETES_SERVICE_HOST" in environment


async def _trouble(bubblewrap: Bubblewrap) -> str:
    """Why bubblewrap does not work here, or nothing when it does."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            probe = await bubblewrap.run(["true"], workspace=Path(folder), timeout_seconds=10)
        except SandboxUnavailable as error:
            return str(error)
    if probe.exit_code == 0:
        return ""
    said = probe.output.strip().splitlines()
    reason = f"bubblewrap does not work here: {said[0] if said else 'it gave no reason'}."
    if "Unknown option" in reason:
        return f"{reason} Version 0.8 or newer is needed."
    return (
        f"{reason} It needs unprivileged user namespaces; on Ubuntu: "
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, on others: "
        "sysctl -w user.max_user_namespaces=10000. Or run Famulus in a container."
    )
