"""SentencePiece with the five special ids, safe for text that a stranger types.

- Normalisation is NFC, and U+2581 (SentencePiece's own space mark) becomes a space. Nothing else changes:
  NFKC would turn ㅋㅋㅋ into conjoining jamo and full-width signs into ASCII.
- After that, `decode(encode(text)) == text` for tokenizers trained here (byte fallback).
- Text never becomes a special id, whatever it spells: `</s>` is four characters, not an end.
- Released tokenizers (without byte fallback) are read too; what they lack becomes `unk`.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import sentencepiece

from ..errors import InputTextError, TokenizerError

_BYTE_PIECES = 256


def normalize(text: str) -> str:
    """Bring text into the form that tokens are made of: NFC, and no U+2581.

    Raises:
        InputTextError: the text holds half of a surrogate pair, which no encoding can carry.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputTextError(
            "The text is not valid Unicode (a lone surrogate); remove that character."
        )
    return unicodedata.normalize("NFC", text).replace("\u2581", " ")


class Tokenizer:
    """Turns text into ids and back.

    Raises:
        TokenizerError: the bytes are no SentencePiece model.
    """

    def __init__(self, model_proto: bytes) -> None:
        self._proto = model_proto
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model_proto)
        except RuntimeError:
            raise TokenizerError(
                "The tokenizer file is not a SentencePiece model; give the .model file."
            ) from None
        self.vocab_size: int = self._processor.GetPieceSize()
        self._bytes = {
            i: int(self._processor.IdToPiece(i)[1:-1], 16)
            for i in range(self.vocab_size)
            if self._processor.IsByte(i)
        }
        # Symbols that text must never become: control pieces, and any piece in the special ids' places.
        self._special_ids = frozenset(
            i
            for i in range(self.vocab_size)
            if self._processor.IsControl(i) or (i < 5 and not self._processor.IsUnknown(i))
        )
        texts = [self._processor.IdToPiece(i) for i in sorted(self._special_ids)]
        self._special_pattern = re.compile(
            f"({'|'.join(re.escape(text) for text in texts if text)})"
        )

    @classmethod
    def from_file(cls, path: Path | str) -> Tokenizer:
        """Read a `.model` file."""
        try:
            return cls(Path(path).read_bytes())
        except OSError as error:
            raise TokenizerError(f"Cannot read the tokenizer {path}: {error.strerror}.") from None

    def to_bytes(self) -> bytes:
        """Return the contents of the `.model` file."""
        return self._proto

    def piece(self, token_id: int) -> str:
        """Return the text of a piece.

        Raises:
            TokenizerError: there is none with this id.
        """
        if token_id >= self.vocab_size:
            raise TokenizerError(
                f"The tokenizer has no piece {token_id}, which the model needs; "
                "give the tokenizer that belongs to the model."
            )
        return str(self._processor.IdToPiece(token_id))

    def encode(self, text: str) -> list[int]:
        """Turn text into ids, never into a special one; an empty text gives no ids."""
        text = normalize(text)
        ids: list[int] = self._processor.EncodeAsIds(text)
        if self._special_ids.isdisjoint(ids):
            return ids
        return self._encode_spelled(text)

    def decode(self, ids: list[int]) -> str:
        """Turn ids into text; special ids give nothing, broken byte runs give U+FFFD."""
        decoder = self.stream()
        return "".join(decoder.push(i) for i in ids) + decoder.finish()

    def stream(self) -> StreamDecoder:
        """Return a decoder that takes one id at a time."""
        return StreamDecoder(self._processor, self._bytes, self._special_ids)

    def _encode_spelled(self, text: str) -> list[int]:
        """Encode text in which a released tokenizer sees a symbol of its own: letter by letter there."""
        ids: list[int] = []
        for number, part in enumerate(self._special_pattern.split(text)):
            plain: list[int] = self._processor.EncodeAsIds(part)
            is_special = number % 2 == 1 or not self._special_ids.isdisjoint(plain)
            ids += [i for letter in part for i in self._letter(letter)] if is_special else plain
        return ids

    def _letter(self, letter: str) -> list[int]:
        ids: list[int] = self._processor.EncodeAsIds(letter)
        return [self._processor.unk_id() if i in self._special_ids else i for i in ids]


class StreamDecoder:
    """Decodes ids one by one and never emits part of a character."""

    def __init__(
        self,
        processor: sentencepiece.SentencePieceProcessor,
        byte_of: dict[int, int],
        special_ids: frozenset[int],
    ) -> None:
        self._processor = processor
        self._byte_of = byte_of
        self._special_ids = special_ids
        self._pending = b""
        self._is_at_start = True

    def push(self, token_id: int) -> str:
        """Take the next id; return the text that is now certain, perhaps none."""
        if token_id in self._byte_of:
            self._pending += bytes([self._byte_of[token_id]])
            return self._take_complete()
        text = self.finish()
        # A model's vocabulary may be padded to more ids than its tokenizer has pieces.
        if token_id in self._special_ids or token_id >= self._processor.GetPieceSize():
            return text
        if self._processor.IsUnknown(token_id):
            return text + "\ufffd"
        piece = self._processor.IdToPiece(token_id).replace("\u2581", " ")
        if self._is_at_start:
            # The tokenizer put a space before the first word; the text had none.
            piece = piece.removeprefix(" ")
            self._is_at_start = False
        return text + str(piece)

    def finish(self) -> str:
        """Return what is left: bytes that no further byte can complete, as U+FFFD."""
        rest, self._pending = self._pending, b""
        return rest.decode("utf-8", errors="replace")

    def _take_complete(self) -> str:
        """Decode pending bytes unless they are the start of a longer character."""
        try:
            text = self._pending.decode("utf-8")
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data":
                return ""
            text = self._pending.decode("utf-8", errors="replace")
        self._pending = b""
        self._is_at_start = False
        return text
