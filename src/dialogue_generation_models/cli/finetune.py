"""`dgm finetune`: let a model learn from chats, from the export file to a model folder."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import ConsentOption, DeviceOption, MeOption, PreparationOption, ThreadsOption
from .progress import show_progress, show_stages

if TYPE_CHECKING:
    from ..config.finetuning import FinetuningConfig
    from ..training.finetuning import Finetuned, FinetuningOrder

app = typer.Typer(add_completion=False)


@app.command()
def finetune(
    exports: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="INPUT...",
            help="Exports of messengers, or anything else that dgm prepare reads.",
        ),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="The model that learns on: a name or a folder.")
    ] = "gpt-mini-ko",
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="MODEL", help="The folder of the new model."),
    ] = Path("my-bot"),
    me: MeOption = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DATASET", help="A data set of dgm prepare, for INPUT."),
    ] = None,
    has_consent: ConsentOption = False,
    is_lora: Annotated[
        bool, typer.Option("--lora", help="Train low-rank adapters alone, and merge them.")
    ] = False,
    lora_rank: Annotated[
        int | None, typer.Option("--lora-rank", min=1, help="Their inner width.  [default: 8]")
    ] = None,
    keep_adapter: Annotated[
        bool, typer.Option("--keep-adapter", help="Also leave the adapters in MODEL.run/adapter.")
    ] = False,
    dp_epsilon: Annotated[
        float | None,
        typer.Option(
            "--dp-epsilon",
            help="Differential privacy for each dialogue: the most to spend, such as 8.",
        ),
    ] = None,
    dp_delta: Annotated[
        float | None, typer.Option("--dp-delta", help="Its delta.  [default: 1e-5]")
    ] = None,
    dp_clip: Annotated[
        float | None,
        typer.Option("--dp-clip", help="Longest gradient of a dialogue.  [default: 1.0]"),
    ] = None,
    config: PreparationOption = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="How it learns, e.g. epochs=3."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an older model and its run.")
    ] = False,
    device: DeviceOption = None,
    threads: ThreadsOption = 0,
) -> None:
    """Let a model learn from your chats, and leave the result in MODEL.

    One call imports, prepares (scrubbed of personal data) and trains; it goes on where it was stopped when the
    same command is given again. What MODEL was made of stays in MODEL.run, for your eyes alone.
    """
    import torch
    from rich.console import Console

    from .. import __version__
    from ..checkpoint.folder import pick_device
    from ..config.finetuning import FinetuningConfig
    from ..config.io import apply_overrides, configure, read_config_file
    from ..training.finetuning import FinetuningOrder, Surroundings, finetune
    from ..training.processes import start_processes

    order = FinetuningOrder(
        model=model,
        output=output,
        exports=tuple(exports or ()),
        dataset=data,
        me=tuple(me or ()),
        preparation=read_config_file(config) if config else {},
        has_consent=has_consent,
        overwrite=overwrite,
        keeps_adapter=keep_adapter,
        tool=f"dialogue-generation-models {__version__}",
    )
    lora = {} if lora_rank is None else {"rank": lora_rank}
    given: dict[str, Any] = {"lora": lora} if is_lora or lora or keep_adapter else {}
    privacy = {"epsilon": dp_epsilon, "delta": dp_delta, "clip": dp_clip}
    if any(value is not None for value in privacy.values()):
        given["privacy"] = {name: value for name, value in privacy.items() if value is not None}
    learning = configure(
        lambda table: FinetuningConfig(**table),
        {},
        lambda table: apply_overrides({**table, **given}, overrides or []),
    )
    order = replace(order, command=_command(order, learning))
    if threads:
        torch.set_num_threads(threads)
    with start_processes(pick_device(device)) as processes:
        surroundings = Surroundings(processes, Console(), show_stages, show_progress)
        try:
            result = finetune(order, learning, surroundings)
        except KeyboardInterrupt:
            if processes.is_main:
                _explain_stop(order)
            raise
    if result is not None:
        _show(order, result)


def _command(order: FinetuningOrder, learning: FinetuningConfig) -> str:
    """Return the command for the card, with how it learnt, and none of the names of what it learnt."""
    words = ["--data", "DATASET"] if order.dataset else ["EXPORT"]
    words += ["--me", "NAME"] * len(order.me)
    words += ["--config", "FILE.toml"] if order.preparation else []
    words += ["--model", Path(order.model).name, "-o", order.output.resolve().name]
    for name, value in learning.model_dump(exclude_defaults=True).items():
        if not isinstance(value, dict):
            words += ["--set", f"{name}={value}"]
        elif value:
            words += [w for key in value for w in ("--set", f"{name}.{key}={value[key]}")]
        else:  # adapters as they are by default
            words += [f"--{name}"]
    return f"dgm finetune {shlex.join(words)}"


def _explain_stop(order: FinetuningOrder) -> None:
    from ..training.finetuning import find_texts

    print("Stopped. The same command goes on where it stopped.", file=sys.stderr)
    texts = find_texts(order)
    if texts is not None:
        print(
            f"{texts} holds what people said until then; remove it if you do not go on.",
            file=sys.stderr,
        )


def _show(order: FinetuningOrder, result: Finetuned) -> None:
    before, after = (e.perplexity.per_token for e in (result.before, result.after))
    print(f"Perplexity on held-out replies: {before:.2f} before, {after:.2f} after.")
    if result.epsilon is not None:
        print(
            f"Differential privacy: epsilon {result.epsilon:.2f} for each dialogue; see the card."
        )
    print(f"{order.output}  the model; talk to it: dgm chat --model {order.output}")
    print(f"{order.run}  what it was made of, and the log; keep it to yourself")
