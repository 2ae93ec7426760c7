"""The stock class of `transformers` of the same size: GPT-2 (pre-norm) and BART, with random weights."""

from __future__ import annotations

from typing import Any

import torch

from dialogue_generation_models.config.model import EncoderDecoderConfig

from .workload import NEW_TOKENS, Run, Setup, Work, lift_end, make_loud


def prepare(setup: Setup, precision: str) -> Run:
    import transformers

    transformers.logging.set_verbosity_error()
    config = setup.config
    torch.manual_seed(0)
    if isinstance(config, EncoderDecoderConfig):
        model: Any = transformers.BartForConditionalGeneration(_bart_config(config))
        table, norm = model.model.shared.weight, model.model.decoder.layers[-1].final_layer_norm
    else:
        model = transformers.GPT2LMHeadModel(_gpt2_config(config))
        table, norm = model.transformer.wte.weight, model.transformer.ln_f
    make_loud(model, table)
    if setup.ends:
        lift_end(norm, table, config.eos_id)
    model = model.to(torch.bfloat16 if precision == "bf16" else torch.float32).eval()

    @torch.inference_mode()
    def run(work: Work) -> int:
        ids = torch.tensor(work.contexts)
        how: dict[str, Any] = {"do_sample": True, "top_p": 0.8, "top_k": 0}
        if work.is_beam:
            how = {"num_beams": work.replies, "do_sample": False}
        rows = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            num_return_sequences=work.replies,
            min_new_tokens=work.least,
            max_new_tokens=NEW_TOKENS,
            repetition_penalty=1.3,
            no_repeat_ngram_size=3,
            **how,
        )
        start = 1 if isinstance(config, EncoderDecoderConfig) else ids.shape[1]
        written = rows[:, start:]
        return int(((written != config.eos_id) & (written != config.pad_id)).sum())

    return run


def _gpt2_config(config: Any) -> Any:
    import transformers

    return transformers.GPT2Config(
        vocab_size=config.vocab_size,
        n_positions=config.n_ctx,
        n_embd=config.n_embd,
        n_layer=config.n_layer,
        n_head=config.n_head,
        n_inner=config.n_inner,
        bos_token_id=config.bos_id,
        eos_token_id=config.eos_id,
        pad_token_id=config.pad_id,
    )


def _bart_config(config: Any) -> Any:
    import transformers

    return transformers.BartConfig(
        vocab_size=config.vocab_size,
        max_position_embeddings=config.n_ctx,
        d_model=config.n_embd,
        encoder_layers=config.n_encoder_layer,
        encoder_attention_heads=config.n_encoder_head,
        encoder_ffn_dim=config.n_encoder_inner,
        decoder_layers=config.n_decoder_layer,
        decoder_attention_heads=config.n_decoder_head,
        decoder_ffn_dim=config.n_decoder_inner,
        bos_token_id=config.bos_id,
        eos_token_id=config.eos_id,
        pad_token_id=config.pad_id,
        decoder_start_token_id=config.bos_id,
        forced_eos_token_id=None,
    )
