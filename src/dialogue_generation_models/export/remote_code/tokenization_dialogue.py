"""The tokenizer of dialogue-generation-models for `transformers`.

    AutoTokenizer.from_pretrained(FOLDER, trust_remote_code=True)

- SentencePiece after NFC. Text never becomes a special id, whatever it spells: `</s>` is four characters.
- `encode_dialogue` lays out turns as the model was trained: a decoder reads `bos u1 sept … un sept`, an
  encoder `u1 sept … un sept`. `sep_token_id` is sept, which separates turns.
"""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
from transformers import PreTrainedTokenizer


class DialogueTokenizer(PreTrainedTokenizer):
    """Turns text into ids and back.

    Args:
        vocab_file: the SentencePiece model.
        opens_with_bos: whether a dialogue begins with bos, as decoders read it.
    """

    vocab_files_names = {"vocab_file": "tokenizer.model"}
    model_input_names = ["input_ids", "attention_mask"]

    def __init__(self, vocab_file: str, opens_with_bos: bool = True, **kwargs: Any) -> None:
        self.vocab_file = vocab_file
        self.opens_with_bos = opens_with_bos
        self.processor = sentencepiece.SentencePieceProcessor(model_file=vocab_file)
        pieces = range(self.processor.GetPieceSize())
        self._byte_of = {
            i: int(self.processor.IdToPiece(i)[1:-1], 16)
            for i in pieces
            if self.processor.IsByte(i)
        }
        self._hidden_ids = frozenset(
            i
            for i in pieces
            if self.processor.IsControl(i) or (i < 5 and not self.processor.IsUnknown(i))
        )
        texts = [self.processor.IdToPiece(i) for i in sorted(self._hidden_ids)]
        self._hidden_pattern = re.compile(
            f"({'|'.join(re.escape(text) for text in texts if text)})"
        )
        super().__init__(opens_with_bos=opens_with_bos, **kwargs)

    def encode_dialogue(self, turns: Sequence[str], max_tokens: int | None = None) -> list[int]:
        """Lay out turns, oldest first, as ids that the model answers to.

        Args:
            turns: texts; not empty.
            max_tokens: older turns that do not fit are left out whole.

        Raises:
            ValueError: the newest turn alone does not fit.
        """
        opening = [self.bos_token_id] if self.opens_with_bos else []
        kept: list[int] = []
        for turn in reversed(turns):
            ids = [*self._text_ids(turn), self.sep_token_id]
            if max_tokens is not None and len(opening) + len(ids) + len(kept) > max_tokens:
                break
            kept = ids + kept
        if not kept:
            raise ValueError(f"no turn fits in {max_tokens} tokens")
        return opening + kept

    def tokenize(self, text: str, *_: Any, **__: Any) -> list[str]:
        """Split text into pieces, never into special ones."""
        return [self.processor.IdToPiece(i) for i in self._text_ids(text)]

    @property
    def vocab_size(self) -> int:
        """Number of pieces."""
        return int(self.processor.GetPieceSize())

    def get_vocab(self) -> dict[str, int]:
        """Return all pieces and their ids."""
        return {self.processor.IdToPiece(i): i for i in range(self.vocab_size)}

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """Join pieces; special ones give nothing."""
        return self._join([self.processor.PieceToId(token) for token in tokens], hide=True)

    def save_vocabulary(
        self, save_directory: str, filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Copy the SentencePiece model."""
        name = "-".join(part for part in (filename_prefix, "tokenizer.model") if part)
        place = Path(save_directory) / name
        if place.resolve() != Path(self.vocab_file).resolve():
            shutil.copyfile(self.vocab_file, place)
        return (str(place),)

    def _convert_token_to_id(self, token: str) -> int:
        return int(self.processor.PieceToId(token))

    def _convert_id_to_token(self, index: int) -> str:
        # A model's vocabulary may be padded to more ids than its tokenizer has pieces.
        return self.processor.IdToPiece(index) if index < self.vocab_size else ""

    def _decode(
        self, token_ids: int | list[int], skip_special_tokens: bool = False, **_: Any
    ) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        return self._join(ids, hide=skip_special_tokens)

    def _join(self, ids: list[int], *, hide: bool) -> str:
        """Turn ids into text; broken runs of bytes and the unknown piece give U+FFFD."""
        out = bytearray()
        is_at_start = True
        for i in ids:
            if i in self._hidden_ids:
                out += b"" if hide else self.processor.IdToPiece(i).encode()
            elif i in self._byte_of:
                out.append(self._byte_of[i])
                is_at_start = False
            elif i < self.vocab_size:
                is_unknown = self.processor.IsUnknown(i)
                piece = (
                    "\ufffd" if is_unknown else self.processor.IdToPiece(i).replace("\u2581", " ")
                )
                # The tokenizer put a space before the first word; the text had none.
                out += (piece.removeprefix(" ") if is_at_start else piece).encode()
                is_at_start = is_at_start and is_unknown
        return out.decode("utf-8", errors="replace")

    def _text_ids(self, text: str) -> list[int]:
        """Turn text into ids; a symbol of the vocabulary that it spells is taken letter by letter."""
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError("the text is not valid Unicode (a lone surrogate)")
        text = unicodedata.normalize("NFC", text).replace("\u2581", " ")
        whole: list[int] = self.processor.EncodeAsIds(text)
        if self._hidden_ids.isdisjoint(whole):
            return whole
        ids: list[int] = []
        for number, part in enumerate(self._hidden_pattern.split(text)):
            plain: list[int] = self.processor.EncodeAsIds(part)
            is_hidden = number % 2 == 1 or not self._hidden_ids.isdisjoint(plain)
            ids += [i for letter in part for i in self._letter(letter)] if is_hidden else plain
        return ids

    def _letter(self, letter: str) -> list[int]:
        ids: list[int] = self.processor.EncodeAsIds(letter)
        return [self.processor.unk_id() if i in self._hidden_ids else i for i in ids]
