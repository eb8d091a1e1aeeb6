"""`famulus route`"""

import asyncio
import json
import sys

import click

from famulus.cli.options import Options, as_json, common


@click.command()
@click.argument("text")
@as_json
@common
def command(options: Options, *, text: str, as_json: bool) -> None:
    """Show which model a message would go to, and why. No model is called.

    TEXT is the message; - reads it from standard input.
    """
    # Imported here, so that `--help` does not pay for them.
    from famulus.models.classify import classify, compiled  # noqa: PLC0415
    from famulus.models.found import find_model  # noqa: PLC0415
    from famulus.models.named import configured_model  # noqa: PLC0415

    loaded = options.load()
    router = loaded.config.router
    if text == "-":
        text = sys.stdin.read()
    decision = classify(text, compiled(router.rules))
    main = configured_model(loaded.config)
    main = main or asyncio.run(find_model(loaded.environment)).model
    if not router.simple:
        model = router.complex or main
        decision.reasons.append("router.simple is not set, so every message goes to one model")
    elif decision.keep_local:
        model = router.simple
    else:
        by_class = {"simple": router.simple, "tool": router.tool}
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
