"""`famulus route`"""

import asyncio
import json
from pathlib import Path

import click
import msgspec

from famulus.cli import stdin
from famulus.cli.options import Options, as_json, common
from famulus.core.config import Router
from famulus.core.errors import ConfigError


@click.command()
@click.argument("text", default="")
@click.option(
    "--labelled",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure the rules on a file instead: a JSON object with text and class a line.",
)
@as_json
@common
def command(options: Options, *, text: str, labelled: Path | None, as_json: bool) -> None:
    """Show which model a message would go to, and why. No model is called.

    TEXT is the message; - reads it from standard input.
    """
    # Imported here, so that `--help` does not pay for them.
    from famulus.models.classify import classify, compiled  # noqa: PLC0415
    from famulus.models.found import find_model  # noqa: PLC0415
    from famulus.models.naming import configured_model  # noqa: PLC0415

    loaded = options.load()
    router = loaded.config.router
    if labelled:
        _measure(labelled, router)
        return
    if not text:
        raise click.UsageError('Say which message, as in: famulus route "hello"')
    if text == "-":
        text = stdin.read()
    decision = classify(text, compiled(router.rules, bold=router.boldness == "bold"))
    main, simple = configured_model(loaded.config), router.simple
    if not main:
        pair = router.pair and not simple
        found = asyncio.run(find_model(loaded.environment, pair=pair))
        main, simple = found.model, simple or found.simple
    if not simple:
        model = router.complex or main
        decision.reasons.append("router.simple is not set, so every message goes to one model")
    elif decision.keep_local:
        model = simple
    elif router.shadow:
        model = loaded.config.agent.model or main
        decision.reasons.append("router.shadow is on, so the agent's model answers")
    else:
        by_class = {"simple": simple, "tool": router.tool}
        model = by_class.get(decision.class_) or router.complex or main
    answer = {
        "class": decision.class_,
        "model": model,
        "score": decision.score,
        "reasons": decision.reasons,
    }
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False))
        return
    click.echo(f"{answer['class']} → {answer['model']} (score {decision.score:g})")
    for reason in decision.reasons:
        click.echo(f"  {reason}")


def _measure(file: Path, router: Router) -> None:
    from famulus.models.classify import compiled  # noqa: PLC0415 - as above
    from famulus.models.measured import Labelled, measure, share, table  # noqa: PLC0415 - as above

    decode = msgspec.json.Decoder(Labelled).decode
    messages = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            messages.append(decode(line))
        except msgspec.DecodeError as error:
            raise ConfigError(
                f"{file}, line {number}: {error}. Each line is a JSON object such as "
                '{"text": "hello", "class": "simple"}.'
            ) from None
    measured = measure(messages, compiled(router.rules, bold=router.boldness == "bold"))
    click.echo(table(measured))
    click.echo(f"\nDecided as labelled: {share(*measured.right())}.")
    click.echo(f"A decision took {measured.microseconds:.0f} µs at the median.")
