"""From inputs to a data set, in one call.

Work goes on in `.NAME.work` beside the data set: a private folder, because it holds what people said. A
preparation that was cut off goes on there; with other inputs or settings it begins anew. The older data set
stays until the new one is whole.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.preparation import ExecutorConfig, PreparationConfig
from ..errors import DataError, UsageError
from ..files import HELPERS, LOCK, only_process, recover, wait_for_helpers, write_whole
from ..tokenizer.tokenizer import Tokenizer
from .interruption import end_like_ctrl_c
from .lettering import identify
from .manifest import KEY, MANIFEST, STATE, read_manifest
from .shards import hash_file
from .sources import Source, find_sources
from .steps import Job, read_json

if TYPE_CHECKING:
    from .pipeline import Watch


@dataclass(frozen=True)
class Order:
    """What `dgm prepare` is asked for, apart from the configuration."""

    inputs: Sequence[Path]
    output: Path
    tokenizer: Path
    """A SentencePiece `.model` file."""
    tool: str
    """What makes the data set, with its version."""
    has_consent: bool = False
    """Whether the user vouches for all inputs."""
    overwrite: bool = False
    """Whether an older data set may be replaced."""
    executor: ExecutorConfig = field(default_factory=ExecutorConfig)


def prepare(order: Order, config: PreparationConfig, watch: Watch) -> dict[str, Any] | None:
    """Make a data set; go on where an earlier call was cut off.

    Args:
        order: inputs, output, tokenizer and where to run.
        config: what the data set holds.
        watch: shows how far it is; see `pipeline.Watch`.

    Returns:
        The manifest; None where Slurm goes on with the work.

    Raises:
        DataError: an input cannot be used, or nothing is left to learn.
        UsageError: the output is in the way, or another process prepares it.
        KeyboardInterrupt: it was stopped, with Ctrl+C or by SIGTERM.
    """
    from .pictures import check_report_packages

    with end_like_ctrl_c():
        check_report_packages()
        return _prepare(order, config, watch)


def _prepare(order: Order, config: PreparationConfig, watch: Watch) -> dict[str, Any] | None:
    from .pipeline import run_pipeline

    output = order.output.resolve()
    recover(output)
    work = _work(order)
    try:
        _check_output(output, overwrite=order.overwrite)
    except UsageError:
        if leave_no_texts(order) and is_made_of(order, config):
            return read_manifest(output)  # all that was cut off was the tidying up
        raise
    tokenizer = Tokenizer.from_file(order.tokenizer)
    sources = find_sources(order.inputs, config.sources, has_consent=order.has_consent)
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with _only_preparation(order):
            state = _fingerprint(sources, config, tokenizer, order)
            if not (work / STATE).is_file() or read_json(work / STATE) != state:
                _clear(work)
                write_whole(work / KEY, secrets.token_hex(32))
                (work / "tokenizer.model").write_bytes(tokenizer.to_bytes())
                write_whole(work / STATE, json.dumps(state))
            job = Job(
                work=work,
                config=config,
                sources=tuple(sources),
                key=bytes.fromhex((work / KEY).read_text(encoding="ascii")),
                tokenizer=work / "tokenizer.model",
                output=output,
                has_consent=order.has_consent,
                tool=order.tool,
            )
            run_pipeline(job, order.executor, watch)
            if order.executor.kind == "slurm":
                return None
    except DataError:
        shutil.rmtree(work)  # there is nothing to go on with, and it holds what people said
        raise
    shutil.rmtree(work, ignore_errors=True)
    return read_manifest(output)


def is_made_of(order: Order, config: PreparationConfig) -> bool:
    """Say whether the data set at the output is what `prepare` would make there, all settings included.

    Raises:
        DataError: an input cannot be read, or the data set is damaged.
    """
    manifest = read_manifest(order.output)
    sources = find_sources(order.inputs, config.sources, has_consent=order.has_consent)
    settings = config.model_dump(mode="json", exclude={"sources"})
    if me := config.sessions.me:
        key = bytes.fromhex((order.output / KEY).read_text(encoding="ascii"))
        settings["sessions"]["me"] = [identify(name, key) for name in me]
    hashes = [[file["sha256"] for file in source["files"]] for source in manifest["sources"]]
    return bool(
        manifest["settings"] == settings
        and manifest["tokenizer"]["sha256"] == hash_file(order.tokenizer)
        and hashes == [[file.sha256 for file in source.files] for source in sources]
    )


def _work(order: Order) -> Path:
    output = order.output.resolve()
    return output.with_name(f".{output.name}.work")


@contextmanager
def _only_preparation(order: Order) -> Iterator[None]:
    """Hold the folder of the work, when no worker of a killed preparation writes there any more."""
    work = _work(order)
    with only_process(work, UsageError(f"Another process prepares {order.output}; wait for it.")):
        wait_for_helpers(work)
        yield


def _check_output(output: Path, *, overwrite: bool) -> None:
    if output.is_dir() and not any(output.iterdir()):
        return
    if output.exists():
        if not (output / MANIFEST).is_file():
            raise UsageError(f"{output} exists and is no prepared data set; name another folder.")
        if not overwrite:
            raise UsageError(f"{output} exists; name another folder or add --overwrite.")


def leave_no_texts(order: Order) -> bool:
    """Clear what an earlier run left that was killed after its data set was in place; say whether one was.

    Raises:
        UsageError: another process is at work there.
    """
    work = _work(order)
    if not work.is_dir() or (work / "data").exists():
        return False
    with _only_preparation(order):
        _clear(work)
    shutil.rmtree(work, ignore_errors=True)
    return True


def _fingerprint(
    sources: Sequence[Source],
    config: PreparationConfig,
    tokenizer: Tokenizer,
    order: Order,
) -> dict[str, Any]:
    """Return what decides the result, to know an earlier run of the same by."""
    return {
        "tool": order.tool,
        "config": config.model_dump(mode="json"),
        "tokenizer": hashlib.sha256(tokenizer.to_bytes()).hexdigest(),
        "sources": [[source.kind, *(file.sha256 for file in source.files)] for source in sources],
        "has_consent": order.has_consent,
    }


def _clear(work: Path) -> None:
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (LOCK, HELPERS):
            path.unlink()
