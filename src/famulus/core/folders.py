"""Where the workspace lies, and where it may not."""

from pathlib import Path

from famulus.core.errors import ConfigError

_SYSTEM = ("/", "/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/run", "/sbin", "/sys", "/usr")


def workspace_folder(written: str, home: Path, *, kept: dict[str, Path]) -> Path:
    """The folder that `agent.workspace` names, with no link in it.

    Tools write there, so it may hold neither `home` nor anything of `kept`, which are the paths of
    other things by what they are. Raises `ConfigError`.
    """
    try:
        folder = (home / Path(written or "workspace").expanduser()).resolve()
        everything = {
            "the home folder of Famulus": home,
            "your own home folder": Path.home(),
            **kept,
        }
    except (RuntimeError, OSError, ValueError) as error:
        raise ConfigError(
            f"agent.workspace is {written!r}, which leads nowhere: {error}."
        ) from None
    if str(folder) in _SYSTEM:
        raise ConfigError(f"agent.workspace is {folder}, a folder of the system. Name another one.")
    for what, path in everything.items():
        if path.resolve().is_relative_to(folder):
            raise ConfigError(
                f"agent.workspace is {folder}, which holds {what}. Tools write in the workspace: "
                "name a folder of its own."
            )
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"agent.workspace is {folder}, which is no folder. Name another one.")
    return folder
