"""The providers that are known without configuration: a key in the environment is enough."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from msgspec.structs import replace

from famulus.core.checks import check_unsealed
from famulus.core.config import Provider
from famulus.core.errors import ConfigError
from famulus.core.settings import Secret, Unmeant


class KeyMissing(ConfigError):
    """The key of a provider that needs one."""


class Vendor(NamedTuple):
    """A provider's defaults.

    `variables` is how its variables in the environment begin; they end in `_API_KEY`,
    `_BASE_URL` and `_MODEL`. `base_url` is empty where the wire knows the address. A bare model
    id that begins like one of `ids` is this vendor's. `model` is what a key without any
    configuration gets; where it is empty, the key alone chooses no model. `voice` says that a
    section of the vendor chooses none either.
    """

    wire: str
    variables: str
    base_url: str = ""
    ids: tuple[str, ...] = ()
    model: str = ""
    needs_key: bool = True
    voice: bool = False

    @property
    def key_variable(self) -> str:
        return f"{self.variables}_API_KEY"

    @property
    def address_variable(self) -> str:
        return f"{self.variables}_BASE_URL"

    @property
    def model_variable(self) -> str:
        return f"{self.variables}_MODEL"


# In the order of preference.
VENDORS = {
    "anthropic": Vendor("anthropic", "ANTHROPIC", ids=("claude",), model="claude-sonnet-5-5"),
    "openai": Vendor("openai", "OPENAI", ids=("gpt-", "chatgpt"), model="gpt-5.5"),
    "openrouter": Vendor("openrouter", "OPENROUTER", model="openrouter/auto"),
    "openai_responses": Vendor("openai_responses", "OPENAI", model="gpt-5.5"),
    "gemini": Vendor(
        "openai",
        "GEMINI",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        ("gemini-",),
        "gemini-pro-latest",
    ),
    "deepseek": Vendor(
        "openai", "DEEPSEEK", "https://api.deepseek.com/v1", ("deepseek-",), "deepseek-chat"
    ),
    "mistral": Vendor(
        "openai",
        "MISTRAL",
        "https://api.mistral.ai/v1",
        ("mistral-", "ministral-", "magistral-", "codestral-", "devstral-", "pixtral-"),
        "mistral-large-latest",
    ),
    "zhipu": Vendor(
        "openai", "ZHIPUAI", "https://open.bigmodel.cn/api/paas/v4", ("glm-",), "glm-5.3"
    ),
    "nvidia": Vendor(
        "openai",
        "NVIDIA",
        "https://integrate.api.nvidia.com/v1",
        model="nvidia/nemotron-3-super-120b-a12b",
    ),
    "vllm": Vendor("openai", "VLLM", "http://127.0.0.1:8000/v1", needs_key=False),
    "ollama": Vendor("ollama", "OLLAMA", needs_key=False),
    # Many have its key for voice messages alone, so an Ollama comes before it.
    "groq": Vendor(
        "openai", "GROQ", "https://api.groq.com/openai/v1", model="openai/gpt-oss-120b", voice=True
    ),
}


WELL_KNOWN = (*VENDORS, "offline")


def type_of(section: str, provider: Provider) -> str:
    """What a section that leaves its type out is: what its name says, else `openai`."""
    return provider.type or (section if section in WELL_KNOWN else "openai")


def provider_from(name: str, environment: Mapping[str, str]) -> Provider:
    """The section of a well-known provider, filled from the environment. Raises `ConfigError` for
    a key that is sealed.
    """
    if name == "ollama":
        return Provider(type="ollama", base_url=_ollama_url(environment.get("OLLAMA_HOST", "")))
    if name not in VENDORS:
        return Provider(type=name)
    vendor = VENDORS[name]
    key = Secret(environment.get(vendor.key_variable, "").strip())
    try:
        check_unsealed(key)
    except Unmeant as error:
        raise ConfigError(f"{vendor.key_variable} {error}") from None
    return Provider(
        type=name,
        api_key=key,
        base_url=environment.get(vendor.address_variable, "").strip() or vendor.base_url,
    )


def usable(name: str, environment: Mapping[str, str]) -> bool:
    """Whether the environment has the key that a well-known provider needs, if it needs one."""
    needs_key = name in VENDORS and VENDORS[name].needs_key
    return not needs_key or bool(provider_from(name, environment).api_key)


def completed(section: str, given: Provider | None, environment: Mapping[str, str]) -> Provider:
    """A section with what it leaves out, or a well-known provider that has none.

    Raises `KeyMissing`. A server of the user's own is never sent the
    vendor's key, nor a written key to an address from the environment.
    """
    type_ = type_of(section, given) if given else section
    known = provider_from(type_, environment)
    vendor = VENDORS.get(type_)
    if given is None:
        provider = known
    elif given.base_url:
        return replace(given, type=type_)
    elif type_ == "ollama":
        return replace(given, type=type_, base_url=known.base_url)
    else:
        own = keys_of(given) or given.headers
        provider = replace(
            given,
            type=type_,
            api_key=given.api_key if own else known.api_key,
            base_url=vendor.base_url if vendor else "",
        )
    if vendor and vendor.needs_key and not keys_of(provider) and not provider.headers:
        raise KeyMissing(
            f"providers.{section}.api_key is empty. Set it, or {vendor.key_variable} in the "
            "environment or .env, or use another model."
        )
    return provider


def keys_of(provider: Provider) -> tuple[Secret, ...]:
    """All keys that are written, each once."""
    keys = (provider.api_key, *provider.api_keys)
    return tuple(dict.fromkeys(key for key in keys if key.reveal().strip()))


def _ollama_url(host: str) -> str:
    """Ollama's own variable holds `host`, `host:port`, `:port` or an address to listen on."""
    host = host.strip().strip("\"'") or "127.0.0.1"
    try:
        parts = urlsplit(host if "://" in host else f"http://{host}")
        name, port = parts.hostname or "127.0.0.1", parts.port
    except ValueError:
        return "http://127.0.0.1:11434"
    if name in ("0.0.0.0", "::"):  # noqa: S104 - only compared: one listens there, nobody calls it
        name = "127.0.0.1"
    if ":" in name:
        name = f"[{name}]"
    default = {"https": 443}.get(parts.scheme, 80) if "://" in host else 11434
    return f"{parts.scheme}://{name}:{port or default}{parts.path.rstrip('/')}"
