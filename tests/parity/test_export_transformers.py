"""`dgm export --format huggingface`: transformers alone gives the same numbers, ids and replies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialogue_generation_models.checkpoint.folder import save_folder
from dialogue_generation_models.config.decoding import PRESETS, DecodingConfig
from dialogue_generation_models.config.model import EvolvedTransformerConfig
from dialogue_generation_models.decoding.generate import generate
from dialogue_generation_models.errors import CheckpointError
from dialogue_generation_models.export.formats import export
from dialogue_generation_models.export.huggingface import generation_config
from dialogue_generation_models.inference.engine import TorchEngine
from dialogue_generation_models.models.evolved_transformer import EvolvedTransformer
from dialogue_generation_models.models.gpt import GPT
from dialogue_generation_models.models.meena import Meena
from dialogue_generation_models.tokenizer.layout import build_prompt
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from dialogue_generation_models.models import Model

transformers = pytest.importorskip("transformers")

DIALOGUES = [["안녕하세요"], ["오늘 뭐 먹을까?", "저녁에 영화 볼래?", "그래 ㅋㅋㅋㅋㅋ"]]
GREEDY = DecodingConfig(strategy="greedy", max_tokens=12, min_tokens=2, no_repeat_ngram=3)


@pytest.fixture(autouse=True)
def _code_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of folders is copied to a place of the test's own."""
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "code")
    )
    monkeypatch.syspath_prepend(str(tmp_path / "code"))


@pytest.fixture(params=["post", "pre", "meena"])
def ours(request: pytest.FixtureRequest, tiny_gpt: GPT, tiny_meena: Meena) -> Model:
    if request.param == "meena":
        return randomized(tiny_meena)
    return randomized(GPT(tiny_gpt.config.replace(norm=request.param)).eval())


@pytest.fixture
def exported(ours: Model, tiny_tokenizer: Tokenizer, tmp_path: Path) -> Path:
    source, output = tmp_path / "source", tmp_path / "exported"
    save_folder(source, ours, tiny_tokenizer, GREEDY, card="---\nlicense: cc0-1.0\n---\n")
    export(str(source), "huggingface", output)
    return output


def randomized(model: Any) -> Any:
    """Give every weight, norms and biases too, a value that a mistake would change."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def load(folder: Path, is_meena: bool) -> Any:
    auto = transformers.AutoModelForSeq2SeqLM if is_meena else transformers.AutoModelForCausalLM
    model, info = auto.from_pretrained(
        folder, trust_remote_code=True, local_files_only=True, output_loading_info=True
    )
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


def load_tokenizer(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(
        folder, trust_remote_code=True, local_files_only=True
    )


def test_log_probabilities_are_the_same_with_padding_too(ours: Model, exported: Path) -> None:
    theirs = load(exported, isinstance(ours, Meena))
    ids = torch.randint(5, 300, (3, 20))
    mask = torch.ones_like(ids)
    if isinstance(ours, GPT):
        mask[1, :6] = 0  # the side on which prompts are padded
        with torch.inference_mode():
            expected = ours(ids, segment_ids=mask).log_softmax(2)
            logp = theirs(ids, attention_mask=mask, **positions(ours, mask)).logits.log_softmax(2)
        expected, logp = expected[mask == 1], logp[mask == 1]
    else:
        mask[1, :6], mask[2, 12:] = 0, 0
        reply = torch.randint(5, 300, (3, 9))
        with torch.inference_mode():
            expected = ours(ids, reply, context_mask=mask.bool()).log_softmax(2)
            logp = theirs(ids, mask, decoder_input_ids=reply).logits.log_softmax(2)
    assert expected.std() > 0.5
    torch.testing.assert_close(logp, expected, rtol=0, atol=1e-4)


def positions(ours: GPT, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """GPT-2 must be told its positions; OPT counts them from the mask."""
    if ours.config.norm == "post":
        return {}
    return {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)}


@pytest.mark.parametrize("strategy", ["greedy", "beam"])
def test_replies_of_a_padded_batch_are_the_same(
    ours: Model, exported: Path, tiny_tokenizer: Tokenizer, strategy: str
) -> None:
    tokenizer = load_tokenizer(exported)
    prompts = [tokenizer.encode_dialogue(turns, max_tokens=30) for turns in DIALOGUES]
    assert prompts == [
        build_prompt(ours.config, [tiny_tokenizer.encode(turn) for turn in turns], 30)
        for turns in DIALOGUES
    ]
    options = GREEDY if strategy == "greedy" else GREEDY.replace(strategy="beam", num_beams=3)
    found = generate(TorchEngine(ours), ours.config, prompts, options)
    batch = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
    theirs = load(exported, isinstance(ours, Meena))
    beams = {"num_beams": 3, "early_stopping": "never"} if strategy == "beam" else {}
    rows = theirs.generate(**batch, **beams)
    start = batch["input_ids"].shape[1] if isinstance(ours, GPT) else 0
    replies = [tokenizer.decode(row[start:], skip_special_tokens=True) for row in rows]
    assert replies == [tiny_tokenizer.decode(best[0].ids) for best in found]
    assert all(replies)
    without = theirs.generate(**batch, **beams, use_cache=False)
    assert torch.equal(rows, without)


def test_the_folder_survives_being_saved_by_transformers(ours: Model, exported: Path) -> None:
    again = exported.parent / "again"
    theirs = load(exported, isinstance(ours, Meena))
    theirs.save_pretrained(again)
    load_tokenizer(exported).save_pretrained(again)
    ids = torch.randint(5, 300, (2, 8))
    more = {"decoder_input_ids": ids} if isinstance(ours, Meena) else {}
    with torch.inference_mode():
        expected, logits = theirs(ids, **more), load(again, bool(more))(ids, **more)
    assert torch.equal(logits.logits, expected.logits)
    assert (
        load_tokenizer(again)("안녕")["input_ids"] == load_tokenizer(exported)("안녕")["input_ids"]
    )


def test_meena_learns_in_transformers(tiny_meena: Meena, tmp_path: Path) -> None:
    save_folder(tmp_path / "source", tiny_meena, None, GREEDY, card="")
    export(str(tmp_path / "source"), "huggingface", tmp_path / "exported")
    theirs = load(tmp_path / "exported", is_meena=True)
    ids, reply = torch.randint(5, 300, (2, 8)), torch.randint(5, 300, (2, 6))
    loss = theirs(ids, labels=reply).loss
    bos = torch.full((2, 1), tiny_meena.config.bos_id)
    logits = tiny_meena(ids, torch.cat([bos, reply[:, :-1]], dim=1))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), reply.flatten())
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(parameter.grad is not None for parameter in theirs.parameters())


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
        st.text("ㅋㅎㅠ안녕 <>/s▁pad0x41[]\u1100\u1161é", max_size=30),
        st.sampled_from(
            ["</s>", "<sept>", "<pad> <s>", "<0x41>", "ㅋ" * 23, " 안녕 ", "▁", "", "👋🏽"]
        ),
    )
)
def test_text_gives_the_same_ids_and_never_special_ones(
    tiny_folder: Path, tiny_tokenizer: Tokenizer, text: str
) -> None:
    output = tiny_folder.parent / "exported"
    if not output.exists():
        export(str(tiny_folder), "huggingface", output)
    tokenizer = load_tokenizer(output)
    ids = tokenizer(text)["input_ids"]
    assert ids == tiny_tokenizer.encode(text)
    assert not {0, 2, 3, 4} & set(ids)
    assert tokenizer.decode(ids) == tiny_tokenizer.decode(ids)


def test_special_ids_are_named_and_hidden_or_shown(
    tiny_folder: Path, tiny_tokenizer: Tokenizer
) -> None:
    output = tiny_folder.parent / "exported"
    export(str(tiny_folder), "huggingface", output)
    tokenizer = load_tokenizer(output)
    names = ("pad", "unk", "bos", "eos", "sep")
    assert [getattr(tokenizer, f"{name}_token_id") for name in names] == [0, 1, 2, 3, 4]
    ids = [2, *tiny_tokenizer.encode("안녕"), 4, 3]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "안녕"
    assert tokenizer.decode(ids) == "<s>안녕<sept></s>"
    assert len(tokenizer) == tiny_tokenizer.vocab_size


def test_transformers_alone_opens_the_folder_as_its_card_says(
    tiny_meena: Meena, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    save_folder(tmp_path / "source", tiny_meena, tiny_tokenizer, GREEDY, card="# Tiny\n")
    export(str(tmp_path / "source"), "huggingface", tmp_path / "exported")
    card = (tmp_path / "exported" / "README.md").read_text(encoding="utf-8")
    code = card.split("```python\n")[1].split("```")[0]
    lines = ["import sys", "sys.modules['dialogue_generation_models'] = None", code]
    result = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=tmp_path / "exported",
        env={
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "1",
            "PATH": "",
            "PYTHONUTF8": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("\n")


def test_decoding_options_have_words_in_transformers(tiny_gpt: GPT) -> None:
    for name, options in PRESETS.items():
        fields = generation_config(tiny_gpt.config, options)
        config = transformers.GenerationConfig(**fields)
        config.validate(strict=True)
        assert config.do_sample == (options.strategy in ("sample", "sample_and_rank")), name
        beams = options.num_beams if "beam" in options.strategy else 1
        assert (config.num_beams or 1) == beams, name
        assert json.loads(config.to_json_string())["suppress_tokens"] == [0, 1, 2, 4]


def test_what_transformers_has_no_class_for_is_refused(tmp_path: Path) -> None:
    config = EvolvedTransformerConfig(
        vocab_size=64, n_embd=32, n_encoder_layer=1, n_decoder_layer=1, n_head=4, n_inner=64
    )
    save_folder(tmp_path / "source", EvolvedTransformer(config), None, GREEDY, card="")
    with pytest.raises(CheckpointError, match="Evolved Transformer; export it to onnx"):
        export(str(tmp_path / "source"), "huggingface", tmp_path / "exported")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
