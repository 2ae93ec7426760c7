"""How inputs become a data set: what `dgm prepare` reads from its `--config` file and `--set` options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from ..errors import ConfigError
from .cleaning import FILTER_PROFILES, Count, DedupConfig, FilterConfig, SessionConfig
from .model import Size
from .privacy import ScrubConfig
from .schema import Config

Profile: TypeAlias = Literal["filtered", "unfiltered"]


class SourceStatement(Config):
    """What may be done with an input, and by whose word: in the configuration, or in a file beside it."""

    path: str = ""
    """Which inputs it is about: the end of a path, `*` standing for anything. Empty beside the input."""
    license: str = ""
    """Licence of a corpus, such as CC-BY-SA-4.0."""
    consent: str = ""
    """How everybody in a private chat agreed to this use, and when."""
    all_adults: bool | None = None
    """Whether everybody in a private chat is of age."""
    reply_speaker: str | None = None
    """Learn only this speaker's turns as replies; all by default."""
    repeat: Size = 1
    """How many times an epoch holds the input."""
    limit: Size | None = None
    """Read only this many dialogues or texts of a corpus."""


class ExecutorConfig(Config):
    """Where the steps run. The data set is the same everywhere."""

    kind: Literal["local", "slurm", "ray"] = "local"
    """local: processes of this machine. slurm: array jobs. ray: tasks of the cluster that is connected."""
    workers: Size = 1
    """Tasks that run at once."""
    partition: str = ""
    """Slurm partition."""
    time: str = "24:00:00"
    """Slurm's time limit of a task."""
    memory_gb: Size = 4
    """Memory of a task, on Slurm and Ray."""
    environment: str = ""
    """Shell command that activates the Python environment on Slurm."""


class PreparationConfig(Config):
    """Everything that decides what a data set holds."""

    profile: Profile = "filtered"
    """Which filters are on by default: those of the papers, or none."""
    sources: list[SourceStatement] = []
    """Licences and consent."""
    sessions: SessionConfig = SessionConfig()
    """Where one dialogue of a chat ends."""
    filters: FilterConfig = FilterConfig()
    """Which turns go."""
    scrub: ScrubConfig = ScrubConfig()
    """What becomes of personal data."""
    dedup: DedupConfig = DedupConfig()
    """How many copies stay."""
    max_turn_tokens: Annotated[int, Field(ge=8, le=65_535)] = 128
    """Longer turns are cut there, and not learnt as replies."""
    validation_percent: Annotated[float, Field(gt=0.0, lt=50.0)] = 2.0
    """Dialogues held out."""
    most_held_out_percent: Annotated[float, Field(gt=0.0, le=50.0)] = 20.0
    """Rooms are held out whole up to this; where the smallest is larger, single dialogues are."""
    shared_letters: Annotated[int, Field(ge=1)] = 30
    """Dialogues that share an exchange of at least so many letters with a held-out one are not learnt. Shorter
    ones are greetings: at 10, よろしくお願いします alone would take half of a Japanese corpus."""
    parts: Annotated[int, Field(ge=1, le=10_000)] = 16
    """Parts that the dialogues are cut into: the most workers of use, and the number of shards."""
    review: Count = 0
    """Messages to put aside for a person to look for personal data in."""


def preparation_settings(data: Mapping[str, Any]) -> tuple[PreparationConfig, ExecutorConfig]:
    """Make of a table what a data set is to hold, and where it is made: its `executor`.

    Raises:
        ConfigError: naming the field that is wrong.
    """
    executor = data.get("executor", {})
    if not isinstance(executor, Mapping):
        raise ConfigError("The field 'executor' must be a table.")
    what = {name: value for name, value in data.items() if name != "executor"}
    return preparation_config(what, None), ExecutorConfig(**executor)


def preparation_config(data: Mapping[str, Any], profile: str | None) -> PreparationConfig:
    """Make a configuration of a table; what it says of `filters` changes the profile's.

    Args:
        data: as read from a file.
        profile: what the command line says; it wins.

    Raises:
        ConfigError: naming the field that is wrong.
    """
    name = profile or data.get("profile", "filtered")
    if not isinstance(name, str) or name not in FILTER_PROFILES:
        raise ConfigError(f"The profile must be one of: {', '.join(FILTER_PROFILES)}.")
    filters = data.get("filters", {})
    if not isinstance(filters, Mapping):
        raise ConfigError("The field 'filters' must be a table.")
    rules = {**FILTER_PROFILES[name].model_dump(), **filters}
    return PreparationConfig(**{**data, "profile": name, "filters": rules})
