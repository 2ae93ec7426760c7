"""Chatbot: a dialogue's texts in, ranked replies out. The only place where text meets ids.

- The model reads the newest turns that fit, whole; older ones are left out, the newest never is.
- A reply's tokens are kept free before history is cut, so a long history never shortens a reply.
- Line breaks and runs of spaces in a turn are read as one space: models learn from single lines.
- What a user types cannot end a turn or forge one: text never becomes a special id.
- A bot keeps no dialogue. Sessions cannot see each other, and threads may share a bot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .checkpoint.folder import find_folder, pick_device
from .config.decoding import PRESETS, DecodingConfig
from .config.model import AnyModelConfig, EncoderDecoderConfig
from .decoding.generate import Candidate, count_rows, generate, stream
from .decoding.scheduler import Limits, Scheduler
from .dialogue import Dialogue, is_blank
from .errors import InputTextError, OptionError, TokenizerError, UsageError
from .inference.engine import TorchEngine
from .inference.loading import load_model
from .inference.precision import pick_precision
from .tokenizer.layout import build_prompt, prompt_limit
from .tokenizer.tokenizer import StreamDecoder, Tokenizer

if TYPE_CHECKING:
    from .models import Model

MAX_TURN_CHARACTERS = 10_000
"""Longer turns are not even tokenised: bringing 1 MB of combining marks into NFC takes minutes."""


@dataclass(frozen=True)
class Reply:
    """One reply and how good the search found it."""

    text: str
    score: float
    """What replies were ranked by; higher is better, comparable within one call only."""
    tokens: int
    """Length in tokens, without the end token."""
    logp: float
    """Natural log of the reply's probability, its end included."""


class ReplyStream(Iterator[str]):
    """The pieces of one reply, each as soon as it is certain; never half a character.

    `text` and `tokens` hold what has come so far.
    """

    def __init__(self, ids: Iterator[int], decoder: StreamDecoder) -> None:
        self.text = ""
        self.tokens = 0
        self._pieces = self._decode(ids, decoder)

    def __next__(self) -> str:
        piece = next(self._pieces)
        self.text += piece
        return piece

    def _decode(self, ids: Iterator[int], decoder: StreamDecoder) -> Iterator[str]:
        for token_id in ids:
            self.tokens += 1
            if piece := decoder.push(token_id):
                yield piece
        if rest := decoder.finish():
            yield rest


class Chatbot:
    """A model that answers texts.

    Args:
        model: any of the package's architectures.
        tokenizer: the model's own; without one, only `model` can be used, with ids.
        decoding: the options that hold where a call gives none.
        name: what to call the bot, for display.
        precision: the numbers that the model is in, for display.
        parameters: how many numbers it has, for display; counted by default.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer | None,
        decoding: DecodingConfig,
        name: str = "",
        precision: str = "",
        parameters: int | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.decoding = decoding
        self.name = name
        first = next(model.parameters())
        self.device = str(first.device)
        self.precision = precision or str(first.dtype).removeprefix("torch.")
        self.parameters = count_parameters(model) if parameters is None else parameters
        self._engine = TorchEngine(model)

    @property
    def config(self) -> AnyModelConfig:
        """The model's shape and special ids."""
        return self.model.config

    def reply(
        self,
        history: Sequence[str] | Dialogue,
        *,
        candidates: int | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> list[Reply]:
        """Answer the newest turn of a dialogue.

        Args:
            history: the turns so far, oldest first; the last one is answered.
            candidates: replies to return, best first; fewer if the search finds fewer different ones.
                By default as many as `num_return` of the strategy's preset or the model folder says.
            seed: makes the replies repeatable.
            **options: `strategy`, a name from `PRESETS`, and fields of `DecodingConfig`; see `settle`.

        Raises:
            InputTextError: the newest turn is empty, too long or not valid Unicode.
            OptionError: an option is unknown or has an illegal value.
            TokenizerError: the model has no tokenizer.
        """
        return self.reply_batch([history], candidates=candidates, seed=seed, **options)[0]

    def reply_batch(
        self,
        histories: Sequence[Sequence[str] | Dialogue],
        *,
        candidates: int | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> list[list[Reply]]:
        """Answer several dialogues at once; arguments and errors as for `reply`.

        With a seed, a dialogue gets the same replies in any batch.
        """
        tokenizer = self._require_tokenizer()
        settled = self.settle(candidates=candidates, seed=seed, **options)
        prompts = [self._prompt(history, settled) for history in histories]
        if not prompts:
            return []
        found = generate(self._engine, self.config, prompts, settled)
        return [_texts_of(ranked, tokenizer) for ranked in found]

    def reply_each(
        self,
        histories: Iterable[Sequence[str] | Dialogue],
        *,
        at_once: int = 8,
        candidates: int | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> Iterator[list[Reply]]:
        """Answer any number of dialogues, in order; other arguments and errors as for `reply`.

        A dialogue is begun as soon as candidates of earlier ones have ended, so that short replies do not
        wait for long ones; no more are read from `histories` than that takes. With a seed, a dialogue gets
        the replies that it gets alone.

        Args:
            histories: the dialogues.
            at_once: as many dialogues, with all their candidates, are written at a time.
        """
        tokenizer = self._require_tokenizer()
        settled = self.settle(candidates=candidates, seed=seed, **options)
        if at_once < 1:
            raise OptionError("at_once must be a whole number from 1.")
        rows, readable = count_rows(settled), prompt_limit(self.config, settled.max_tokens)
        limits = Limits(
            max_rows=at_once * rows,
            max_waiting=at_once,
            max_cached_tokens=at_once * (self.config.n_ctx + rows * settled.max_tokens),
            max_read_tokens=at_once * readable,  # nobody waits for single tokens
        )
        scheduler = Scheduler(self._engine, self.config, limits)
        prompts = (self._prompt(history, settled) for history in histories)
        for ranked in scheduler.answer_each(prompts, settled):
            yield _texts_of(ranked, tokenizer)

    def stream(
        self, history: Sequence[str] | Dialogue, *, seed: int | None = None, **options: Any
    ) -> ReplyStream:
        """Answer the newest turn piece by piece; arguments and errors as for `reply`.

        `greedy` and `sample` write as they go; the other strategies give the winner once it is known.
        """
        tokenizer = self._require_tokenizer()
        settled = self.settle(candidates=1, seed=seed, **options)
        prompt = self._prompt(history, settled)
        return ReplyStream(stream(self._engine, self.config, prompt, settled), tokenizer.stream())

    def settle(
        self,
        *,
        strategy: str | None = None,
        candidates: int | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> DecodingConfig:
        """Decide all decoding options of a call.

        The base is the preset that `strategy` names, else the model folder's own options, fitted to the
        model's context. What the call gives then overrides it.

        Raises:
            OptionError: an option is unknown, illegal or does not fit the model or another option.
        """
        if strategy is not None and strategy not in PRESETS:
            raise OptionError(f"Unknown strategy '{strategy}'; choose from {', '.join(PRESETS)}.")
        base = self.decoding if strategy is None else PRESETS[strategy]
        room = reply_room(self.config)
        changes = {**_widened(base, candidates, options), **options}
        if seed is not None:
            changes["seed"] = seed
        settled = _fitted(base, room, options).replace(**changes)
        if settled.max_tokens > room:
            raise OptionError(f"max_tokens must be at most {room} with this model.")
        return settled

    def count_visible(self, history: Sequence[str] | Dialogue, **options: Any) -> int:
        """Return how many of the newest turns the model would read; arguments as for `reply`."""
        prompt = self._prompt(history, self.settle(**options))
        return prompt.count(self.config.sept_id)

    def _prompt(self, history: Sequence[str] | Dialogue, options: DecodingConfig) -> list[int]:
        tokenizer = self._require_tokenizer()
        newest, *older = reversed(_texts(history))
        if is_blank(newest):
            raise InputTextError("The message is empty; write something to be answered.")
        if len(newest) > MAX_TURN_CHARACTERS:
            raise InputTextError(
                f"The message has {len(newest):,} characters, "
                f"more than the {MAX_TURN_CHARACTERS:,} allowed; shorten it."
            )
        limit = prompt_limit(self.config, options.max_tokens)
        turns = [tokenizer.encode(_on_one_line(newest))]
        used = len(turns[0])
        for text in older:
            # What is older than a turn that cannot fit is never read, however long the dialogue.
            if used > limit or len(text) > MAX_TURN_CHARACTERS:
                break
            if not is_blank(text):
                turns.append(tokenizer.encode(_on_one_line(text)))
                used += len(turns[-1])
        return build_prompt(self.config, turns[::-1], limit)

    def _require_tokenizer(self) -> Tokenizer:
        if self.tokenizer is None:
            raise TokenizerError(
                "This model has no tokenizer, so it cannot read text; put its tokenizer.model into "
                "the model folder, or use bot.model with token ids."
            )
        return self.tokenizer


def load(name_or_path: str, *, precision: str = "auto", device: str | None = None) -> Chatbot:
    """Load a bot by its name, such as "gpt-mini-ko", or from a model folder.

    Args:
        name_or_path: a known name or the path of a model folder.
        precision: of the weights in memory: float32, bfloat16, int8, or "auto", which is bfloat16 on a GPU and
            on a CPU int8 if it is fast there, else float32. `Chatbot.precision` says what was picked.
        device: "cpu", "cuda" or "cuda:N"; by default a GPU if there is one.

    Raises:
        ModelNotFoundError: neither a known name nor a model folder.
        CheckpointError: the folder's files are damaged or do not fit each other.
        OptionError: there is no such precision or device.
    """
    settled = pick_precision(precision, pick_device(device))
    path = find_folder(str(name_or_path))
    loaded = load_model(path, settled, device)
    folder, name = loaded.folder, loaded.folder.path.resolve().name
    return Chatbot(
        folder.model, folder.tokenizer, folder.decoding, name, settled, loaded.parameters
    )


def count_parameters(model: Model) -> int:
    """Count the numbers that training has set."""
    return sum(parameter.numel() for parameter in model.parameters())


def reply_room(config: AnyModelConfig) -> int:
    """Return the most tokens that a reply may have, so that a message of some length is still read."""
    if isinstance(config, EncoderDecoderConfig):
        return config.n_ctx - config.n_encoder_ctx
    return max(1, config.n_ctx * 3 // 4)


def _texts(history: Sequence[str] | Dialogue) -> list[str]:
    if isinstance(history, Dialogue):
        history = [turn.text for turn in history.merge_speakers().turns]
    if isinstance(history, str) or not all(isinstance(text, str) for text in history):
        raise UsageError('The history is a list of texts, oldest first, such as ["안녕"].')
    if not history:
        raise InputTextError("The history is empty; give at least one message to be answered.")
    return list(history)


def _texts_of(ranked: Sequence[Candidate], tokenizer: Tokenizer) -> list[Reply]:
    return [Reply(tokenizer.decode(c.ids), c.score, len(c.ids), c.logp) for c in ranked]


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _fitted(base: DecodingConfig, room: int, options: dict[str, Any]) -> DecodingConfig:
    """Shorten a base's lengths to the model, and its minimum to a maximum that the call gives."""
    longest = min(base.max_tokens, room)
    wanted = options.get("max_tokens")
    if isinstance(wanted, int) and wanted >= 1:
        longest = wanted
    return base.replace(max_tokens=longest, min_tokens=min(base.min_tokens, longest))


def _widened(
    base: DecodingConfig, candidates: int | None, options: dict[str, Any]
) -> dict[str, Any]:
    """Return the changes that make a strategy yield so many candidates."""
    if candidates is None:
        return {}
    if not isinstance(candidates, int) or candidates < 1:
        raise OptionError("candidates must be a whole number from 1.")
    changes = {"num_return": candidates}
    if base.strategy == "greedy" and candidates > 1:
        raise OptionError(
            "Strategy greedy has one reply only; for more candidates choose sample_and_rank or beam."
        )
    if base.strategy == "sample_and_rank":
        # Equal samples are merged; twice as many leave enough.
        changes["num_samples"] = min(1000, max(2 * candidates, base.num_samples))
    if base.strategy in ("beam", "diverse_beam"):
        groups = options.get("num_beam_groups", base.num_beam_groups)
        if not isinstance(groups, int) or groups < 1:
            return changes  # the configuration refuses it by name
        changes["num_beams"] = max(base.num_beams, -(-candidates // groups) * groups)
    return changes
