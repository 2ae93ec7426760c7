"""The steps of a preparation as a datatrove pipeline: the only file that imports datatrove.

- A stage is a datatrove executor: local processes, Slurm array jobs or Ray tasks. A task that ended left a
  marker, so a preparation that was killed goes on with the tasks that had not.
- The number of tasks comes from the settings, never from the number of workers, and so does the result.
- datatrove's own word tokenizers need spaCy and more, and give too few words for a message. Near-copies are
  told by the trigrams of a text's letters instead, through datatrove's MinHash blocks with SHA-1.
- datatrove's local executor forks a process that shares locks and outlives its parent; `LocalStage` does not.
- datatrove's logger would write variables, and so chat text, into its logs; it is silent here.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..config.cleaning import DedupConfig
from ..config.preparation import ExecutorConfig
from ..errors import DataError, DialogueModelError, MissingExtraError
from .dedup import text_key
from .manifest import finish
from .selection import key_part, select
from .steps import Job, check_owner, clean_part, count_part, find_frequent, read_clean, read_source
from .tokenising import shard_part
from .workers import run_tasks

try:
    import multiprocess
    from datatrove.data import Document
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.executor.ray import RayPipelineExecutor
    from datatrove.executor.slurm import SlurmPipelineExecutor
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupSignature,
    )
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.text import TextNormConfig
    from datatrove.utils.word_tokenizers import WordTokenizer
    from loguru import logger
except ImportError:  # the core install alone: `run_pipeline` says so
    logger = None  # type: ignore[assignment, unused-ignore]
    LocalPipelineExecutor = SlurmPipelineExecutor = RayPipelineExecutor = object
    WordTokenizer = MinhashDedupCluster = object

Unit: TypeAlias = Literal["dialogues", "replies"]
_LOGS = "logs"
_LONGEST = 4096  # letters of a text that its trigrams are taken of
_BUFFERED = 4096  # signatures read at once


@dataclass(frozen=True)
class Stage:
    """Tasks that may run side by side; the next stage waits for all of them."""

    name: str
    blocks: tuple[Any, ...]
    tasks: int


Watch: TypeAlias = Callable[
    [Sequence[Stage], Path], contextlib.AbstractContextManager[Callable[[Stage], None]]
]
"""Takes all stages and the folder of their markers (`STAGE/completions`); gives what each one is told to."""


def run_pipeline(job: Job, executor: ExecutorConfig, watch: Watch) -> None:
    """Run all stages, or hand them to Slurm and return.

    Args:
        job: what to prepare; its work folder may hold what an earlier run finished.
        executor: where to run.
        watch: shows how far it is.

    Raises:
        MissingExtraError: datatrove, or Ray, is not installed.
        DataError: an input is damaged.
        DialogueModelError: tasks on Ray did not end.
    """
    if logger is None:
        raise MissingExtraError("datatrove", "data")
    logger.disable("datatrove")
    if executor.kind == "local" and executor.workers > 1 and sys.platform != "win32":
        # Worker processes then begin with everything imported.
        multiprocess.set_forkserver_preload([__name__])
    stages = make_stages(job)
    with watch(stages, job.work / _LOGS) as begin:
        before = None
        for stage in stages:
            begin(stage)
            before = _executor(stage, executor, job.work, before)
            if executor.kind != "slurm":
                before.run()
    if executor.kind == "slurm" and before is not None:
        before.run()  # submits those before it too


def make_stages(job: Job) -> list[Stage]:
    """Return the stages of a preparation, in order."""
    dedup, parts = job.config.dedup, job.parts
    stages = [Stage("read", (Step(read_source, job),), len(job.sources))]
    if job.config.sessions.me and any(s.is_private for s in job.sources):
        stages.append(Stage("owner", (Step(check_owner, job),), 1))
    if job.config.filters.max_repeats:
        stages.append(Stage("count", (Step(count_part, job),), parts))
        stages.append(Stage("frequent", (Step(find_frequent, job),), 1))
    stages.append(Stage("clean", (Step(clean_part, job),), parts))
    if dedup.near:
        units: tuple[Unit, ...] = ("dialogues", "replies")
        stages += [stage for unit in units for stage in _near_stages(job, dedup, unit)]
    return [
        *stages,
        Stage("keys", (Step(key_part, job),), parts),
        Stage("select", (Step(select, job),), 1),
        Stage("shards", (Step(shard_part, job),), parts),
        Stage("finish", (Step(finish, job),), 1),
    ]


def _near_stages(job: Job, dedup: DedupConfig, unit: Unit) -> list[Stage]:
    folder = job.work / "near" / unit
    places = {name: str(folder / name) for name in ("signatures", "pairs", "clusters")}
    for place in places.values():
        Path(place).mkdir(parents=True, exist_ok=True)
    config = MinhashConfig(
        n_grams=1,
        num_buckets=dedup.near_buckets,
        hashes_per_bucket=dedup.near_hashes,
        norm_config=TextNormConfig(False, False, False, False, False),
        hash_config=HashConfig(precision=64, hash_fc="sha1"),
    )
    sign = MinhashDedupSignature(
        places["signatures"], config, language=LetterTrigrams(dedup.near_letters)
    )
    match = MinhashDedupBuckets(
        places["signatures"], places["pairs"], config=config, lines_to_buffer=_BUFFERED
    )
    join = QuietCluster(
        places["pairs"],
        places["clusters"],
        config,
        save_cluster_id=True,
        lines_to_buffer=_BUFFERED,
    )
    return [
        Stage(f"{unit}-signatures", (Texts(job, unit), sign), job.parts),
        Stage(f"{unit}-pairs", (match,), dedup.near_buckets),
        Stage(f"{unit}-clusters", (join,), 1),
    ]


@dataclass(frozen=True)
class Step:
    """A step as a datatrove block that reads and writes the work folder itself."""

    function: Callable[[Job, int], None]
    job: Job

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        """Do task `rank`."""
        self.function(self.job, rank)


@dataclass(frozen=True)
class Texts:
    """A block that yields a document for each dialogue, or for each turn, of a part.

    What has no near-copies (texts, openings) yields an empty one, so that places stay those of the part.
    """

    job: Job
    unit: Unit

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield the documents of part `rank`."""
        for source, dialogue in read_clean(self.job, rank):
            keys = [text_key(turn.text) for turn in dialogue.turns]
            if self.job.sources[source].kind == "texts":
                keys = [""] * len(keys)
            if self.unit == "dialogues":
                yield Document(text="\n".join(keys), id=dialogue.id)
            else:
                yield from (Document(text=key, id="") for key in ["", *keys[1:]])


class LetterTrigrams(WordTokenizer):  # type: ignore[misc, valid-type, unused-ignore]
    """The trigrams of a text's letters, each with all the text's digits: other digits, no near-copy."""

    def __init__(self, least: int) -> None:
        self._least = least

    def word_tokenize(self, text: str) -> list[str]:
        """Return each trigram once; none for a text that is too short."""
        if len(text) < self._least:
            return []
        digits = "".join(filter(str.isdigit, text))
        short = text[:_LONGEST]
        return [
            digits + gram
            for gram in dict.fromkeys(map("".join, zip(short, short[1:], short[2:], strict=False)))
        ]

    def sent_tokenize(self, text: str) -> list[str]:
        """Return the whole text; MinHash asks for words alone."""
        return [text]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """Return the whole text; MinHash asks for words alone."""
        return [(0, len(text))]


class QuietCluster(MinhashDedupCluster):  # type: ignore[misc, valid-type, unused-ignore]
    """datatrove's clustering without its progress bar, which would break into ours."""

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Cluster all pairs."""
        with contextlib.redirect_stderr(io.StringIO()):
            super().run(data, rank, world_size)


class _Quiet:
    """Keeps datatrove's logger silent in every process that runs a task."""

    def _run_for_rank(self, *arguments: Any, **named: Any) -> Any:
        logger.disable("datatrove")
        return super()._run_for_rank(*arguments, **named)  # type: ignore[misc]


class LocalStage(_Quiet, LocalPipelineExecutor):  # type: ignore[misc, valid-type, unused-ignore]
    """A stage on this machine; one worker is this process itself."""

    def __init__(self, work: Path, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.work = work

    def run(self) -> None:
        """Run the tasks that have no marker yet."""
        ranks = self.get_incomplete_ranks()
        workers = min(self.workers, len(ranks))
        if workers < 2:
            for rank in ranks:
                self._run_for_rank(rank)
            return
        context = multiprocess.get_context(self.start_method)
        run_tasks(context, workers, self.work, self._run_for_rank, ranks)


class SlurmStage(_Quiet, SlurmPipelineExecutor):  # type: ignore[misc, valid-type, unused-ignore]
    """A stage as an array job of Slurm."""


class RayStage(_Quiet, RayPipelineExecutor):  # type: ignore[misc, valid-type, unused-ignore]
    """A stage on the Ray cluster that is connected.

    datatrove drops what a task raises there and goes on; here a task leaves the sentence of its error.
    """

    def _run_for_rank(self, rank: int, *arguments: Any, **named: Any) -> Any:
        try:
            return super()._run_for_rank(rank, *arguments, **named)
        except DataError as error:
            with self.logging_dir.open(f"problems/{rank:05d}.txt", "w", encoding="utf-8") as file:
                file.write(str(error))
            raise

    def run(self) -> None:
        """Run the tasks that have no marker yet.

        Raises:
            DataError: an input is damaged.
            DialogueModelError: tasks did not end for another reason.
        """
        super().run()
        failed = self.get_incomplete_ranks(skip_completed=True)
        for name in sorted(self.logging_dir.list_files("problems")) if failed else ():
            with self.logging_dir.open(name, "r", encoding="utf-8") as file:
                raise DataError(file.read())
        if failed:
            raise DialogueModelError(
                f"Tasks on Ray that did not end: {len(failed)} of {self.world_size}; look at Ray's logs, "
                "and the same command goes on with them."
            )


def _executor(stage: Stage, config: ExecutorConfig, work: Path, before: Any) -> Any:
    blocks, workers = list(stage.blocks), min(config.workers, stage.tasks)
    place = str(work / _LOGS / stage.name)
    if config.kind == "slurm":
        return SlurmStage(
            blocks,
            tasks=stage.tasks,
            time=config.time,
            partition=config.partition,
            mem_per_cpu_gb=config.memory_gb,
            workers=config.workers,
            job_name=f"dgm-{stage.name}",
            qos="",
            env_command=config.environment or None,
            depends=before,
            logging_dir=place,
            mail_type="NONE",
        )
    if config.kind == "ray":
        try:
            import ray  # noqa: F401
        except ImportError:
            raise MissingExtraError("ray", None) from None  # too large for an extra that most have
        return RayStage(
            blocks,
            tasks=stage.tasks,
            workers=workers,
            mem_per_cpu_gb=config.memory_gb,
            logging_dir=place,
        )
    method = "spawn" if sys.platform == "win32" else "forkserver"
    return LocalStage(
        work, blocks, tasks=stage.tasks, workers=workers, logging_dir=place, start_method=method
    )
