"""Folders that CTranslate2 loads; the one file that imports it.

Its Transformer expresses the GPT, pre- and post-norm, and the published Meena exactly: scaled embeddings,
learned positions, tanh GELU, any LayerNorm eps. Meena's decoder gets the rows of the position table
that the reply has.
Weights are float32; CTranslate2 makes them int8 as it loads them (`compute_type="int8"`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..checkpoint.folder import ModelFolder
from ..config.model import ModelConfig
from ..errors import CheckpointError, MissingExtraError
from ..models import meena
from ..models.gpt import GPT
from ..models.layers import Attention, CrossAttention, FeedForward
from ..models.meena import Meena
from ..tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from ..models import Model


def write_ctranslate2(folder: ModelFolder, place: Path) -> str:
    """Write the files into an empty folder; return how they are used, Markdown.

    Raises:
        MissingExtraError: ctranslate2 is not installed.
        CheckpointError: CTranslate2 cannot compute this model.
        TokenizerError: a special id of the model is no piece of the tokenizer.
        OSError: the disk refuses.
    """
    model, tokenizer = folder.model, folder.tokenizer
    spec = to_spec(model, vocabulary(model.config, tokenizer))
    spec.validate()
    spec.optimize(quantization=None)
    spec.save(str(place))
    if tokenizer is None:
        return "There is no tokenizer: tokens are ids in brackets, `[5]`, as `vocabulary.json` has them."
    (place / "tokenizer.model").write_bytes(tokenizer.to_bytes())
    return _usage(model, folder.decoding.max_tokens)


def to_spec(model: Model, tokens: list[str]) -> Any:
    """Turn a model into a specification of CTranslate2.

    Args:
        model: in float32, on the CPU.
        tokens: the vocabulary.

    Raises:
        MissingExtraError: ctranslate2 is not installed.
        CheckpointError: CTranslate2 cannot compute this model.
    """
    try:
        from ctranslate2 import specs
    except ImportError:
        raise MissingExtraError("ctranslate2", "export") from None
    if isinstance(model, GPT):
        spec = specs.TransformerDecoderModelSpec(_decoder(specs, model))
        spec.register_vocabulary(tokens)
    elif isinstance(model, Meena):
        spec = specs.TransformerSpec(_encoder(specs, model), _decoder(specs, model))
        spec.register_source_vocabulary(tokens)
        spec.register_target_vocabulary(tokens)
        spec.config.decoder_start_token = tokens[model.config.bos_id]
        spec.config.layer_norm_epsilon = meena.EPS
    else:
        raise CheckpointError(
            "CTranslate2 has no convolutions in its decoder and cannot compute an Evolved Transformer; "
            "export it to onnx."
        )
    config = model.config
    for name, token_id in (("bos", config.bos_id), ("eos", config.eos_id), ("unk", config.unk_id)):
        setattr(spec.config, f"{name}_token", tokens[token_id])
    return spec


def vocabulary(config: ModelConfig, tokenizer: Tokenizer | None) -> list[str]:
    """Name every id of the model: pieces, and numbers in brackets for ids that have none."""
    pieces = 0 if tokenizer is None else tokenizer.vocab_size
    named = [] if tokenizer is None else [tokenizer.piece(i) for i in range(pieces)]
    return [*named, *(f"[{i}]" for i in range(pieces, config.vocab_size))]


def _decoder(specs: Any, model: GPT | Meena) -> Any:
    is_gpt = isinstance(model, GPT)
    is_pre_norm = isinstance(model, GPT) and model.config.norm == "pre"
    layers: Any = model.blocks if isinstance(model, GPT) else model.decoder
    heads = model.config.n_head if isinstance(model, GPT) else model.config.n_decoder_head
    spec = specs.TransformerDecoderSpec(
        len(layers),
        heads,
        pre_norm=is_pre_norm,
        activation=specs.Activation.GELUTanh,
        with_encoder_attention=not is_gpt,
    )
    first = 0 if isinstance(model, GPT) else model.config.n_encoder_ctx
    _fill_embeddings(spec, spec.embeddings, model, slice(first, None))
    spec.projection.weight = spec.embeddings.weight
    if is_pre_norm:
        _fill_norm(spec.layer_norm, model.final_norm)
    for there, here in zip(spec.layer, layers, strict=True):
        _fill_attention(there.self_attention, here.attention, here.norm_1)
        if is_gpt:
            _fill_feed_forward(there.ffn, here.feed_forward, here.norm_2)
        else:
            _fill_attention(there.attention, here.cross_attention, here.norm_2)
            _fill_feed_forward(there.ffn, here.feed_forward, here.norm_3)
    return spec


def _encoder(specs: Any, model: Meena) -> Any:
    spec = specs.TransformerEncoderSpec(
        len(model.encoder),
        model.config.n_encoder_head,
        pre_norm=False,
        activation=specs.Activation.GELUTanh,
    )
    _fill_embeddings(spec, spec.embeddings[0], model, slice(model.config.n_encoder_ctx))
    layers: Any = model.encoder
    for there, here in zip(spec.layer, layers, strict=True):
        _fill_attention(there.self_attention, here.attention, here.norm_1)
        _fill_feed_forward(there.ffn, here.feed_forward, here.norm_2)
    return spec


def _fill_embeddings(spec: Any, table: Any, model: GPT | Meena, positions: slice) -> None:
    table.weight = _array(model.token_embedding.weight)
    spec.scale_embeddings = model.embedding_scale != 1.0
    spec.position_encodings.encodings = _array(model.position_embedding.weight[positions])


def _fill_attention(spec: Any, layer: Attention, norm: nn.LayerNorm) -> None:
    parts: list[tuple[nn.Linear, ...]] = [(layer.query, layer.key, layer.value), (layer.output,)]
    if isinstance(layer, CrossAttention):
        parts = [(layer.query,), (layer.key, layer.value), (layer.output,)]
    for there, linears in zip(spec.linear, parts, strict=True):
        there.weight = _array(torch.cat([linear.weight for linear in linears]))
        there.bias = _array(torch.cat([linear.bias for linear in linears]))
    _fill_norm(spec.layer_norm, norm)


def _fill_feed_forward(spec: Any, layer: FeedForward, norm: nn.LayerNorm) -> None:
    for there, linear in ((spec.linear_0, layer.up), (spec.linear_1, layer.down)):
        there.weight, there.bias = _array(linear.weight), _array(linear.bias)
    _fill_norm(spec.layer_norm, norm)


def _fill_norm(spec: Any, norm: Any) -> None:
    spec.gamma, spec.beta = _array(norm.weight), _array(norm.bias)


def _array(tensor: Any) -> Any:
    weight: Tensor = tensor
    return weight.detach().contiguous().numpy()


def _usage(model: Model, max_tokens: int) -> str:
    config = model.config
    never = [[i] for i in config.never_in_reply_ids]
    run = _GENERATE if isinstance(model, GPT) else _TRANSLATE
    return f"""```python
import unicodedata

import ctranslate2
import sentencepiece

pieces = sentencepiece.SentencePieceProcessor(model_file="tokenizer.model")
bos, sept = pieces.id_to_piece([{config.bos_id}, {config.sept_id}])
never = [pieces.id_to_piece(ids) for ids in {never}]
message = pieces.encode(unicodedata.normalize("NFC", "안녕"), out_type=str)
{run.format(max_tokens=max_tokens)}
```"""


_GENERATE = """model = ctranslate2.Generator(".", compute_type="int8")
[result] = model.generate_batch(
    [[bos, *message, sept]], max_length={max_tokens},
    suppress_sequences=never, include_prompt_in_result=False
)
print(pieces.decode(result.sequences[0]))"""
_TRANSLATE = """model = ctranslate2.Translator(".", compute_type="int8")
[result] = model.translate_batch(
    [[*message, sept]], beam_size=1, max_decoding_length={max_tokens}, suppress_sequences=never
)
print(pieces.decode(result.hypotheses[0]))"""
