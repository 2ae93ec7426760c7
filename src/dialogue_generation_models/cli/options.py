"""Options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from ..config.decoding import PRESETS, DecodingConfig
from ..config.io import apply_overrides
from ..errors import OptionError


def describe_field(name: str) -> str:
    """Return what `DecodingConfig` says about one of its fields, as the text of `--help`."""
    text = DecodingConfig.model_fields[name].description or ""
    return " ".join(text.split())


ModelOption: TypeAlias = Annotated[
    str, typer.Option("--model", "-m", help="A model's name (dgm models list) or a model folder.")
]
StrategyOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        "-s",
        metavar="NAME",
        help=f"How replies are searched for; by default the model's own way. One of: {', '.join(PRESETS)}.",
    ),
]
TemperatureOption: TypeAlias = Annotated[
    float | None, typer.Option("--temperature", help=describe_field("temperature"))
]
TopKOption: TypeAlias = Annotated[int | None, typer.Option("--top-k", help=describe_field("top_k"))]
TopPOption: TypeAlias = Annotated[
    float | None, typer.Option("--top-p", help=describe_field("top_p"))
]
MaxTokensOption: TypeAlias = Annotated[
    int | None, typer.Option("--max-tokens", help=describe_field("max_tokens"))
]
SetOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other decoding option, such as num_beams=4; may be given several times.",
    ),
]
PrecisionOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--precision",
        help="Of the weights in memory: auto, float32, bfloat16 or int8.",
        metavar="NAME",
    ),
]
DeviceOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda or cuda:N; by default a GPU if there is one."),
]
ThreadsOption: TypeAlias = Annotated[
    int, typer.Option("--threads", min=0, help="Processor threads; 0 for all.")
]
PreparationOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE.toml", help="Settings of the preparation, licences and consent."
    ),
]
MeOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--me",
        metavar="NAME",
        help="Learn only this person's messages as replies; may be repeated, for each name in the exports.",
    ),
]
ConsentOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--i-have-consent",
        help="Vouch for all inputs: everybody agreed and is of age, and licences allow it.",
    ),
]


def gather(settings: list[str] | None, **options: Any) -> dict[str, Any]:
    """Join the options that were given and the `--set` ones, which win, under the library's names.

    Raises:
        OptionError: a setting is not NAME=VALUE, or has an option of its own.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for setting in settings or []:
        name = setting.partition("=")[0].strip()
        if name in ("strategy", "seed", "num_return"):
            raise OptionError(f"--set does not take {name}; see --help for the option of its own.")
    return apply_overrides(given, settings or [])
