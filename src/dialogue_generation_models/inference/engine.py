"""The engine: prompts in, next-token logits out, one step at a time.

Decoding knows only the protocols below. `TorchEngine` is the reference implementation for all
architectures; tests and other back ends bring their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ..models.cache import Cache
from ..models.gpt import GPT
from .cache import JoinedCache, SharedCache
from .int8 import Int8Linear

if TYPE_CHECKING:
    from ..models import EncoderDecoder, Model


class Session(Protocol):
    """A batch of replies that are being written."""

    def step(self, ids: Tensor) -> Tensor:
        """Append one token to each row, [B], and score what may follow, [B, V]."""
        ...

    def reorder(self, rows: Tensor) -> None:
        """Make row i what row `rows[i]` was, [B']; rows may be repeated or left out."""
        ...


class Engine(Protocol):
    """Starts sessions."""

    def prefill(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> tuple[Session, Tensor]:
        """Read prompts of any lengths; return the session and the first token's logits, [B, V].

        Args:
            prompts: for GPT the whole prompt, for encoder-decoders the context.
            max_tokens: the most steps that the session will be asked for.
        """
        ...


class JoiningEngine(Engine, Protocol):
    """An engine whose sessions may take their steps together, each as if it were alone."""

    def step_together(self, sessions: Sequence[Session], ids: Tensor) -> Tensor:
        """Append one token to each row of several sessions: [B] → what may follow, [B, V].

        Args:
            sessions: of this engine; the same ones need not come each time.
            ids: for the rows of the first session, then for those of the second, and so on.
        """
        ...


class TorchEngine:
    """Runs any of the package's models with torch, on the model's own device and precision.

    Beside weights of 8 bits, keys and values are kept in 16.
    """

    def __init__(self, model: Model) -> None:
        self.model = model.eval()
        self.device = next(model.parameters()).device
        self._in_half = any(isinstance(module, Int8Linear) for module in model.modules())

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> tuple[Session, Tensor]:
        """Read prompts of any lengths; return the session and the first token's logits, [B, V]."""
        if isinstance(self.model, GPT):
            return self._prefill_decoder(self.model, prompts, max_tokens)
        return self._prefill_encoder_decoder(self.model, prompts, max_tokens)

    def _prefill_decoder(
        self, model: GPT, prompts: Sequence[Sequence[int]], max_tokens: int
    ) -> tuple[Session, Tensor]:
        # Padding stands on the left, so that all rows write their next token in the same column.
        ids, mask = self._pad(prompts, on_left=True)
        cache = SharedCache(ids.shape[1], max_tokens, in_half=self._in_half)
        is_last = torch.zeros_like(mask)
        is_last[:, -1] = True
        logits = model(ids, segment_ids=mask.long(), logits_at=is_last, cache=cache)
        return _TorchSession(self, cache), logits

    @torch.inference_mode()
    def step_together(self, sessions: Sequence[Session], ids: Tensor) -> Tensor:
        """Append one token to each row of several sessions; see `JoiningEngine.step_together`.

        Raises:
            ValueError: a session is another engine's or given twice, or there is not one token a row.
        """
        caches = [
            session.cache
            for session in sessions
            if isinstance(session, _TorchSession) and session.engine is self
        ]
        is_each_once = len(set(map(id, caches))) == len(sessions)
        if not is_each_once or sum(cache.rows for cache in caches) != len(ids):
            raise ValueError(
                "sessions of this engine, once each, and one token for each of their rows"
            )
        return self._step(ids, caches[0] if len(caches) == 1 else JoinedCache(caches))

    def _step(self, ids: Tensor, cache: Cache) -> Tensor:
        ids = ids.to(self.device)[:, None]
        if isinstance(self.model, GPT):
            logits: Tensor = self.model(ids, cache=cache)  # [B, 1, V]
        else:
            # The cache knows which of the contexts' columns are padding.
            mask = torch.ones_like(ids, dtype=torch.bool)
            logits = self.model.decode(ids, None, mask, cache=cache)
        return logits[:, 0]

    def _prefill_encoder_decoder(
        self, model: EncoderDecoder, prompts: Sequence[Sequence[int]], max_tokens: int
    ) -> tuple[Session, Tensor]:
        ids, mask = self._pad(prompts, on_left=False)
        memory, mask = model.encode(ids, mask)  # [B, S, C]
        cache = SharedCache(1, max_tokens, in_half=self._in_half)
        bos = ids.new_full((len(prompts), 1), model.config.bos_id)
        logits = model.decode(bos, memory, mask, cache=cache)  # [B, 1, V]
        return _TorchSession(self, cache), logits[:, 0]

    def _pad(self, prompts: Sequence[Sequence[int]], *, on_left: bool) -> tuple[Tensor, Tensor]:
        """Rectangle of ids and its mask (True = token), each [B, T]."""
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self.model.config.pad_id)
        mask = torch.zeros(len(prompts), width, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            columns = slice(width - len(prompt), width) if on_left else slice(0, len(prompt))
            ids[row, columns] = torch.tensor(prompt)
            mask[row, columns] = True
        return ids.to(self.device), mask.to(self.device)


class _TorchSession:
    def __init__(self, engine: TorchEngine, cache: SharedCache) -> None:
        self.engine = engine
        self.cache = cache

    def step(self, ids: Tensor) -> Tensor:
        return self.engine.step_together([self], ids)

    @torch.inference_mode()
    def reorder(self, rows: Tensor) -> None:
        self.cache.reorder(rows.to(self.engine.device))
