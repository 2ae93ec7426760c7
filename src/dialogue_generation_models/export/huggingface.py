"""Folders that `transformers` loads, with weights in float32.

| model | class |
|---|---|
| GPT, pre-norm | `GPT2LMHeadModel` |
| GPT, post-norm | `OPTForCausalLM`, see `opt.py` |
| Meena | `remote_code/modeling_meena.py`, which comes with the folder |

No class of `transformers` is an exact Meena: BART and its kin have a norm after the embeddings, and Marian,
without one, drops its position table whenever it is saved. Nothing here imports `transformers`.

The tokenizer is code of the folder's own for all three: `tokenizers`' unigram breaks ties another way than
SentencePiece, so that runs like ㅋㅋㅋㅋㅋㅋㅋ are cut elsewhere.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..checkpoint.folder import ModelFolder, to_json
from ..checkpoint.huggingface import to_huggingface
from ..checkpoint.original import to_meena_layout
from ..checkpoint.tensors import write_tensors
from ..config.decoding import DecodingConfig
from ..config.model import EncoderDecoderConfig, GPTConfig, MeenaConfig, ModelConfig
from ..errors import CheckpointError
from ..models.gpt import GPT
from ..models.meena import Meena
from ..tokenizer.layout import prompt_limit
from ..tokenizer.tokenizer import Tokenizer
from .opt import to_opt

if TYPE_CHECKING:
    from ..models import Model

TOKENIZER_CODE, MEENA_CODE = "tokenization_dialogue", "modeling_meena"


def write_transformers(folder: ModelFolder, place: Path) -> str:
    """Write the files into an empty folder; return how they are used, Markdown.

    Raises:
        CheckpointError: no class of `transformers` computes this model.
        TokenizerError: a special id of the model is no piece of the tokenizer.
        OSError, SafetensorError: the disk refuses.
    """
    model, tokenizer = folder.model, folder.tokenizer
    tensors, config_json = to_transformers(model)
    write_tensors(place / "model.safetensors", tensors)
    files = {
        "config.json": to_json(config_json),
        "generation_config.json": to_json(generation_config(model.config, folder.decoding)),
    }
    if isinstance(model, Meena):
        files[f"{MEENA_CODE}.py"] = _read_code(MEENA_CODE)
    if tokenizer is not None:
        files |= tokenizer_files(model.config, tokenizer)
    for name, content in files.items():
        (place / name).write_bytes(content)
    return _usage(model, has_tokenizer=tokenizer is not None)


def to_transformers(model: Model) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Turn a float32 model into the state dict and the `config.json` of its class in `transformers`.

    Raises:
        CheckpointError: there is none.
    """
    state, config = model.state_dict(), model.config
    if isinstance(model, GPT):
        tensors, config_json = (
            to_huggingface(model) if model.config.norm == "pre" else to_opt(state, model.config)
        )
    elif isinstance(model, Meena):
        tensors, config_json = to_meena_layout(state), _meena_config(model.config)
    else:
        raise CheckpointError(
            "transformers has no class that computes an Evolved Transformer; export it to onnx."
        )
    return tensors, {**config_json, **_special_ids(config), "dtype": "float32"}


def generation_config(config: ModelConfig, options: DecodingConfig) -> dict[str, Any]:
    """Say in the words of `transformers` how a model answers.

    Sample-and-rank becomes sampling, diverse beam a beam; there are no words for the cross-turn rule and for
    leaving the prompt out of the penalty.
    """
    settings: dict[str, Any] = {
        **_special_ids(config),
        "num_return_sequences": 1,
        "repetition_penalty": options.repetition_penalty,
        "no_repeat_ngram_size": options.no_repeat_ngram,
        "min_new_tokens": options.min_tokens,
        "max_new_tokens": options.max_tokens,
        "suppress_tokens": sorted({*config.never_in_reply_ids, *options.banned_ids}),
    }
    if options.strategy in ("beam", "diverse_beam"):
        beam = {"num_beams": options.num_beams, "length_penalty": options.length_penalty}
        return {**settings, "do_sample": False, **beam}
    if options.strategy == "greedy" or options.temperature == 0:
        return {**settings, "do_sample": False}
    filters = {
        "temperature": options.temperature,
        "top_k": options.top_k,
        "top_p": options.top_p,
        "min_p": options.min_p,
        "typical_p": options.typical_p,
    }
    return {**settings, "do_sample": True, **filters}


def tokenizer_files(
    config: GPTConfig | EncoderDecoderConfig, tokenizer: Tokenizer
) -> dict[str, bytes]:
    """Return the tokenizer's files by name.

    Raises:
        TokenizerError: a special id of the model is no piece of the tokenizer.
    """
    ids = (config.pad_id, config.unk_id, config.bos_id, config.eos_id, config.sept_id)
    names = ("pad_token", "unk_token", "bos_token", "eos_token", "sep_token")
    is_decoder = isinstance(config, GPTConfig)
    settings = {
        "tokenizer_class": "DialogueTokenizer",
        "auto_map": {"AutoTokenizer": [f"{TOKENIZER_CODE}.DialogueTokenizer", None]},
        **{name: tokenizer.piece(i) for name, i in zip(names, ids, strict=True)},
        "opens_with_bos": is_decoder,
        # Replies follow where the rows of a batch end; an encoder reads from the left.
        "padding_side": "left" if is_decoder else "right",
        "model_max_length": prompt_limit(config, 0),
        "clean_up_tokenization_spaces": False,
    }
    return {
        "tokenizer.model": tokenizer.to_bytes(),
        "tokenizer_config.json": to_json(settings),
        f"{TOKENIZER_CODE}.py": _read_code(TOKENIZER_CODE),
    }


def _read_code(module: str) -> bytes:
    return (importlib.resources.files(__package__) / "remote_code" / f"{module}.py").read_bytes()


def _special_ids(config: ModelConfig) -> dict[str, int]:
    ids = {"pad": config.pad_id, "bos": config.bos_id, "eos": config.eos_id}
    if isinstance(config, MeenaConfig):
        ids["decoder_start"] = config.bos_id
    return {f"{name}_token_id": i for name, i in ids.items()}


def _meena_config(config: MeenaConfig) -> dict[str, Any]:
    return {
        "architectures": ["MeenaForConditionalGeneration"],
        "auto_map": {
            "AutoConfig": f"{MEENA_CODE}.MeenaConfig",
            "AutoModelForSeq2SeqLM": f"{MEENA_CODE}.MeenaForConditionalGeneration",
        },
        "model_type": "dialogue-meena",
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.n_ctx,
        "max_encoder_length": config.n_encoder_ctx,
        "d_model": config.n_embd,
        "encoder_layers": config.n_encoder_layer,
        "encoder_attention_heads": config.n_encoder_head,
        "encoder_ffn_dim": config.n_encoder_inner,
        "decoder_layers": config.n_decoder_layer,
        "decoder_attention_heads": config.n_decoder_head,
        "decoder_ffn_dim": config.n_decoder_inner,
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
    }


def _usage(model: Model, *, has_tokenizer: bool) -> str:
    auto = "AutoModelForCausalLM" if isinstance(model, GPT) else "AutoModelForSeq2SeqLM"
    trust = "" if isinstance(model, GPT) else ", trust_remote_code=True"
    if not has_tokenizer:
        return f"""```python
from transformers import {auto}

model = {auto}.from_pretrained("."{trust})
```

There is no tokenizer: the model takes and gives ids only."""
    start = "ids.shape[1]" if isinstance(model, GPT) else "0"
    return f"""```python
import torch
from transformers import {auto}, AutoTokenizer

model = {auto}.from_pretrained("."{trust})
tokenizer = AutoTokenizer.from_pretrained(".", trust_remote_code=True)
ids = torch.tensor([tokenizer.encode_dialogue(["안녕"])])
reply = model.generate(ids, attention_mask=torch.ones_like(ids))[0]
print(tokenizer.decode(reply[{start}:], skip_special_tokens=True))
```

The tokenizer's code needs `sentencepiece`; text never becomes a special id."""
