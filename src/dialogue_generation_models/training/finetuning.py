"""Fine-tuning in one call: exports or a data set in, a model folder out.

    MODEL/                  the fine-tuned model, written last and whole
    MODEL.run/              what it was made of, for its owner's eyes alone
    MODEL.run/data/         the prepared data set, scrubbed; `dgm data forget` works on it
    MODEL.run/options.json  what it was asked for, to know the same call by
    MODEL.run/recipe.json   what was run, with log.jsonl and the figures

A call that was cut off goes on where it was. While exports are being prepared, `MODEL.run/.data.work` holds
what people said; it goes away with the preparation. In the end the checkpoints go too.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ..checkpoint.folder import (
    CONFIG,
    TOKENIZER,
    check_replaceable,
    find_folder,
    hash_weights,
    load_folder,
)
from ..config.finetuning import FinetuningConfig
from ..config.preparation import PreparationConfig, preparation_config
from ..config.training import Recipe
from ..data.forget import FORGOTTEN
from ..data.manifest import describe_reading, read_manifest, unread_files
from ..data.owner import find_owner
from ..data.preparation import Order, is_made_of, leave_no_texts, prepare
from ..data.sources import find_sources
from ..data.stored import PreparedDataset, is_prepared
from ..errors import DataError, TokenizerError, UsageError
from ..evaluation.measure import Track
from ..evaluation.report import Evaluation
from .finetuned import keep_adapter, measure_base, read_epsilon, save_finetuned
from .interruption import only_trainer
from .planning import Base, check_size, plan
from .processes import Processes
from .resuming import claim, clear_older, describe_options, empty
from .run import RECIPE, check_private, run

if TYPE_CHECKING:
    from ..data.pipeline import Watch

_DATA = "data"
_SESSION_MESSAGES = 100  # so that a chat without silences has enough dialogues to hold some out
_VALIDATION_PERCENT = 10.0  # a person's chat is small


@dataclass(frozen=True)
class FinetuningOrder:
    """What `dgm finetune` is asked for, apart from how it trains."""

    model: str
    """Name or folder of the model that learns on."""
    output: Path
    """The folder of the model that comes of it."""
    exports: Sequence[Path] = ()
    """What to prepare, or"""
    dataset: Path | None = None
    """the data set that was prepared already."""
    me: Sequence[str] = ()
    """Names of whose messages are learnt; everybody's by default."""
    preparation: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the preparation, as `dgm prepare --config` reads them."""
    has_consent: bool = False
    """Whether the user vouches for all exports."""
    overwrite: bool = False
    """Whether an older model and its run may be replaced."""
    keeps_adapter: bool = False
    """Whether adapters are also left alone, in the run's folder."""
    tool: str = "dialogue-generation-models"
    """What makes the data set, with its version."""
    command: str = "dgm finetune"
    """What trains it again, without names, for the card."""

    @property
    def run(self) -> Path:
        """The folder of the run, beside the model's."""
        return self.output.with_name(f"{self.output.name}.run")


@dataclass(frozen=True)
class Surroundings:
    """Where a fine-tuning runs, and to whom it tells how far it is."""

    processes: Processes
    """That train together; the main one does everything else."""
    console: Console
    watch: Watch
    """Shows the steps of the preparation."""
    measuring: Callable[[], AbstractContextManager[Track]]
    """Shows the measures."""


@dataclass(frozen=True)
class Finetuned:
    """What a fine-tuning came to, on the replies that were held out."""

    before: Evaluation
    after: Evaluation
    epsilon: float | None = None
    """What a private training spent."""


def finetune(
    order: FinetuningOrder, config: FinetuningConfig, surroundings: Surroundings
) -> Finetuned | None:
    """Prepare, train and write a model folder; go on where an earlier call of the same was cut off.

    Returns:
        What was gained; None in the processes beside the main one, which only train.

    Raises:
        OptionError: several processes are to train privately.
        UsageError: the order contradicts itself, or the output is in the way.
        DataError: an input cannot be used, or holds too little.
        TokenizerError: the data set was made for another tokenizer.
        TrainingError: the run cannot go on.
        KeyboardInterrupt: it was stopped.
    """
    processes = surroundings.processes
    check_private(config.privacy, processes)
    if not processes.is_main:
        _join(order, config, surroundings)
        return None
    _check(order)
    base = _load_base(order.model)
    material: PreparedDataset | PreparationConfig
    if order.dataset:
        material = PreparedDataset(order.dataset)
        check_tokenizer(material, base)
    else:
        material = _preparation(order)
    with _holding(order.run):
        return _finetune(order, config, base, material, surroundings)


def _join(order: FinetuningOrder, config: FinetuningConfig, surroundings: Surroundings) -> None:
    """Train beside the main process, as soon as that has prepared the data and made its plan."""
    processes = surroundings.processes
    processes.wait()
    dataset = PreparedDataset(order.dataset or order.run / _DATA)
    recipe = _plan(order, config, _load_base(order.model), dataset, processes)
    run(recipe, order.run, processes=processes, console=surroundings.console)


def _plan(
    order: FinetuningOrder,
    config: FinetuningConfig,
    base: Base,
    dataset: PreparedDataset,
    processes: Processes,
) -> Recipe:
    name = order.output.resolve().name
    return plan(base, dataset, config, name=name, device=processes.device.type)


@contextmanager
def _holding(run: Path) -> Iterator[None]:
    """Make a run's folder and hold it; it goes again if nothing was put there."""
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as afterwards, only_trainer(run):
        try:
            yield
        finally:
            if [path.name for path in run.iterdir()] == [".lock"]:
                afterwards.callback(_remove_empty, run)


def _remove_empty(run: Path) -> None:
    """Remove a run's folder that is let go, unless another call has put something there by now."""
    with suppress(OSError):
        (run / ".lock").unlink()
        run.rmdir()


def _finetune(
    order: FinetuningOrder,
    config: FinetuningConfig,
    base: Base,
    material: PreparedDataset | PreparationConfig,
    surroundings: Surroundings,
) -> Finetuned:
    """Fine-tune in a run's folder that is held; `material` is the data set, or how it is to be prepared."""
    options = describe_options(
        config,
        model=base.sha256,
        data=material.sha256 if isinstance(material, PreparedDataset) else "",
        overwrite=order.overwrite,
    )
    clear_older(order.run, options)
    if isinstance(material, PreparedDataset):
        dataset = material
    else:
        dataset = _dataset(order, material, base, surroundings)
    processes = surroundings.processes
    recipe = _plan(order, config, base, dataset, processes)
    claim(order.run, recipe, options)
    with surroundings.measuring() as track:
        before = measure_base(base, dataset, order.run, track)
    say = surroundings.console.print
    counts = dataset.manifest["counts"]
    say(
        f"{counts['train']['replies']:,} replies to learn, {counts['valid']['replies']:,} held out; "
        f"{base.name} has a perplexity of {before.perplexity.per_token:.2f} on those"
    )
    processes.wait()  # the others join
    run(recipe, order.run, processes=processes, console=surroundings.console, is_held=True)
    if order.keeps_adapter:
        keep_adapter(base, recipe, order.run)
    say("Measuring the best weights ...")
    place = (order.run, order.output)
    with surroundings.measuring() as track:
        after = save_finetuned(base, before, recipe, place, command=order.command, track=track)
    for checkpoint in order.run.glob("*.safetensors"):
        checkpoint.unlink()
    return Finetuned(before, after, read_epsilon(order.run))


def check_tokenizer(dataset: PreparedDataset, base: Base) -> None:
    """Refuse a data set whose ids mean something else than the model's.

    Raises:
        TokenizerError: they do.
    """
    digest = hashlib.sha256(base.tokenizer.to_bytes()).hexdigest()
    if dataset.manifest["tokenizer"]["sha256"] != digest:
        raise TokenizerError(
            f"The data set {dataset.folder} was prepared with another tokenizer than {base.name}'s; "
            f"prepare it again with --tokenizer {base.name}."
        )


def _check(order: FinetuningOrder) -> None:
    """Refuse what contradicts itself, and an output that is in the way, before anything slow begins."""
    if bool(order.exports) == bool(order.dataset):
        raise UsageError("Give either files to learn from or --data DATASET.")
    if order.dataset and (order.me or order.preparation or order.has_consent):
        raise UsageError(
            "A data set is prepared already: give --me, --config and --i-have-consent to dgm prepare."
        )
    if order.dataset and order.overwrite and order.run.resolve() in order.dataset.resolve().parents:
        raise UsageError(
            f"{order.dataset} lies in the run that --overwrite replaces; name another folder with -o."
        )
    if order.exports and order.overwrite and (order.run / _DATA / FORGOTTEN).is_file():
        raise UsageError(
            f"People were removed from {order.run / _DATA}, and the exports would bring them back; learn "
            f"from what stayed: --data {order.run / _DATA}, with another folder after -o."
        )
    check_replaceable(order.output)
    if (order.output / CONFIG).exists() and not order.overwrite:
        raise UsageError(f"{order.output} exists; name another folder or add --overwrite.")
    if order.run.is_dir() and any(order.run.iterdir()):
        is_ours = (order.run / RECIPE).is_file() or find_texts(order) is not None
        if not (is_ours or is_prepared(order.run / _DATA)):
            raise UsageError(f"{order.run} is no run of dgm finetune; name another folder with -o.")


def _load_base(name: str) -> Base:
    folder = find_folder(name).resolve()
    loaded = load_folder(folder, precision="float32")
    if loaded.tokenizer is None:
        raise TokenizerError(
            f"The model {name} has no tokenizer.model, so it cannot learn from text."
        )
    digest = hash_weights(folder)
    return Base(folder.name, folder, digest, loaded.model, loaded.tokenizer, loaded.decoding)


def _dataset(
    order: FinetuningOrder, config: PreparationConfig, base: Base, surroundings: Surroundings
) -> PreparedDataset:
    """Return the data set of the order's exports, made now if it must be."""
    request = Order(
        inputs=order.exports,
        output=order.run / _DATA,
        tokenizer=base.folder / TOKENIZER,
        tool=order.tool,
        has_consent=order.has_consent,
    )
    if is_prepared(request.output) and not is_made_of(request, config):
        if not order.overwrite:
            raise UsageError(
                f"{order.run} holds a fine-tuning of other inputs or settings; give the same to go on, "
                "name another folder with -o, or add --overwrite to begin anew."
            )
        empty(order.run)
    if not is_prepared(request.output):
        _prepare(request, config, surroundings)
    leave_no_texts(request)  # an earlier call may have been stopped while it was tidying up
    return _whole_dataset(request.output)


def _prepare(request: Order, config: PreparationConfig, surroundings: Surroundings) -> None:
    """Make the data set; of one that cannot be used, nothing stays."""
    try:
        surroundings.console.print("Preparing the data ...")
        prepare(request, config, surroundings.watch)
        for line in describe_reading(read_manifest(request.output)):
            surroundings.console.print(line, markup=False, highlight=False, soft_wrap=True)
        _whole_dataset(request.output)
    except DataError:
        shutil.rmtree(request.output, ignore_errors=True)
        raise


def _whole_dataset(folder: Path) -> PreparedDataset:
    """Open a data set.

    Raises:
        DataError: an input of it could not be read, or it is too small.
    """
    dataset = PreparedDataset(folder)
    if unread := unread_files(dataset.manifest):
        raise DataError(f"An input cannot be read, {unread[0]}; mend it or leave it out.")
    check_size(dataset)
    return dataset


def _preparation(order: FinetuningOrder) -> PreparationConfig:
    """Make the settings of the preparation: the user's, and defaults for the chat of one person."""
    table = {"validation_percent": _VALIDATION_PERCENT, **order.preparation}
    sessions = table.get("sessions", {})
    if isinstance(sessions, Mapping):  # what else it may be, the configuration refuses
        table["sessions"] = {"max_messages": _SESSION_MESSAGES, **sessions}
    config = preparation_config(table, None)
    sources = find_sources(order.exports, config.sources, has_consent=order.has_consent)
    me = order.me or config.sessions.me
    if not me:
        return config
    return config.replace(sessions={**config.sessions.model_dump(), "me": find_owner(sources, me)})


def find_texts(order: FinetuningOrder) -> Path | None:
    """Return the folder in which a preparation that was stopped left what people said, if there is one."""
    folder = order.run / f".{_DATA}.work"
    return folder if folder.is_dir() else None
