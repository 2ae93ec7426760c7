"""CTranslate2 on our export, rounded to 8 bits by CTranslate2, with its own search."""

from __future__ import annotations

from typing import Any

from dialogue_generation_models.config.model import EncoderDecoderConfig

from .workload import NEW_TOKENS, Run, Setup, Work


def prepare(setup: Setup, precision: str) -> Run:
    import ctranslate2

    from dialogue_generation_models.export.ctranslate2 import to_spec, vocabulary

    folder = setup.exports / f"ctranslate2-{precision}"
    words = vocabulary(setup.config, None)
    if not (folder / "model.bin").exists():
        spec = to_spec(setup.build(), words)
        spec.validate()
        spec.optimize(quantization=precision)
        folder.mkdir(parents=True, exist_ok=True)
        spec.save(str(folder))
    is_seq2seq = isinstance(setup.config, EncoderDecoderConfig)
    kind = ctranslate2.Translator if is_seq2seq else ctranslate2.Generator
    model = kind(str(folder), compute_type=precision, inter_threads=1, intra_threads=setup.threads)

    def run(work: Work) -> int:
        how: dict[str, Any] = {
            "num_hypotheses": work.replies,
            "repetition_penalty": 1.3,
            "no_repeat_ngram_size": 3,
            "max_batch_size": 0,
        }
        how |= (
            {"beam_size": work.replies}
            if work.is_beam
            else {"beam_size": 1, "sampling_topk": 0, "sampling_topp": 0.8}
        )
        prompts = [[words[i] for i in context] for context in work.contexts]
        if is_seq2seq:
            results = model.translate_batch(
                prompts, min_decoding_length=work.least, max_decoding_length=NEW_TOKENS, **how
            )
            return sum(len(reply) for result in results for reply in result.hypotheses)
        results = model.generate_batch(
            prompts,
            min_length=work.least,
            max_length=NEW_TOKENS,
            include_prompt_in_result=False,
            **how,
        )
        return sum(len(reply) for result in results for reply in result.sequences)

    return run
