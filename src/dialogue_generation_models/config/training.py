"""A training recipe: what is trained, on what, for how long. One TOML file describes it whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from ..errors import ConfigError
from .decoding import DecodingConfig
from .model import AnyModelConfig, Rate, Size
from .preparation import PreparationConfig, preparation_config
from .schema import Config

Positive: TypeAlias = Annotated[float, Field(gt=0.0)]


class SourceConfig(Config):
    """One file of dialogues or texts, or a data set that `dgm prepare` wrote."""

    path: str
    """File, relative to the recipe's `data_root`: `.jsonl`, `.tsv` (both also `.zst`) or `.txt`; or a data
    set's folder. A stage learns from files or from one data set."""
    license: str
    """The data's licence, for the model card."""
    repeat: Size = 1
    """How many times an epoch holds it."""
    reply_speaker: str | None = None
    """Learn only this speaker's turns as replies; all by default."""
    limit: Size | None = None
    """Read only this many lines."""


class TokenizerConfig(Config):
    """The tokenizer that is trained first."""

    sources: list[str]
    """Files whose texts it is trained on, relative to `data_root`."""
    max_lines: Size = 400_000
    """Lines taken from each file."""


class StageConfig(Config):
    """A part of the training with its own data and schedule."""

    name: str
    """Names the stage in logs and checkpoints."""
    objective: Literal["text", "dialogue"]
    """text: predict every token. dialogue: predict replies, given the turns before them."""
    sources: list[SourceConfig]
    """The data."""
    steps: Size
    """Optimizer steps."""
    batch_size: Size
    """Packed rows of `n_ctx` tokens (GPT), or context-reply pairs (encoder-decoders), in a step."""
    learning_rate: Positive
    """Highest rate: reached after the warm-up, and kept for `hold_steps`."""
    schedule: Literal["cosine", "inverse_sqrt"] = "cosine"
    """How the rate falls then. cosine: half a cosine, to `final_rate` of it. inverse_sqrt: with the square root
    of the step."""
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    """Steps over which the rate grows from 0."""
    hold_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the highest rate is kept, before it falls."""
    schedule_steps: Size | None = None
    """Steps at which the cosine ends, if the stage is to end earlier on it; by default `steps`."""
    final_rate: Annotated[float, Field(ge=0.0, le=1.0)] = 0.05
    """What part of the highest rate is left at the end of the cosine."""
    learnt: Literal["replies", "turns"] = "replies"
    """What of a dialogue is learnt. replies: the turns that answer one (of `reply_speaker`, if given). turns:
    all of them, the first too (GPT only)."""


class LoRAConfig(Config):
    """Low-rank adapters on all linear layers, in the place of training all weights."""

    rank: Size = 8
    """Inner width of an adapter; its size, and what it can learn, grow with it."""
    alpha: Positive = 16.0
    """The adapter is added alpha / rank times."""
    dropout: Rate = 0.0
    """Dropout rate of what goes into an adapter."""


class PrivacyConfig(Config):
    """Differential privacy of the dialogues that are learnt (DP-SGD)."""

    epsilon: Positive
    """The most that the training may spend; smaller is more private. Above 10 it promises little."""
    delta: Annotated[float, Field(gt=0.0, lt=1.0)] = 1e-5
    """The chance that the promise fails; to be well below 1 / dialogues."""
    clip: Positive = 1.0
    """A dialogue's gradient is shortened to this length."""


class Recipe(Config):
    """Everything that decides a training run's result, apart from the hardware."""

    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    """The model's name, and that of its folder: letters, digits, `.`, `-` and `_`."""
    language: Literal["ko", "ja", "en"]
    """Language of the data."""
    license: str
    """The licence of the weights."""
    data_root: str
    """Folder that holds the sources; relative to the working folder."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Decides initial weights, order of the data and dropout."""
    start_from: str | None = None
    """The model, a name or a folder, whose weights the training begins with; fresh ones by default."""
    start_from_sha256: str | None = None
    """The hash of these weights, which a run's record has; a model with others is refused. Any by default."""
    lora: LoRAConfig | None = None
    """Train adapters alone, which are merged into the weights in the end; all weights by default."""
    privacy: PrivacyConfig | None = None
    """Train with differential privacy, by dialogue; without by default."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """bfloat16: matrix products in bf16 by autocast; weights and optimizer stay float32."""
    optimizer: Literal["adamw", "muon", "adafactor"] = "adamw"
    """muon: Muon for the matrices inside the layers, AdamW for the rest; learns more from each token.
    adafactor: the Meena paper's, which keeps a fraction of AdamW's state."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.1
    """Decay of matrices; vectors have none."""
    beta1: Rate = 0.9
    """How slowly AdamW forgets the gradient."""
    beta2: Rate = 0.98
    """How slowly AdamW forgets the squared gradient."""
    max_gradient_norm: Positive = 1.0
    """Longer gradients are shortened to this."""
    accumulate: Size = 1
    """Parts in which each process learns a step's batch, one after the other: less memory, the same step."""
    activation_checkpointing: bool = False
    """Compute each block again for its gradient, and keep only its input: less memory, a third more time."""
    compile: bool = False
    """Compile the blocks (`torch.compile`): minutes at the start, faster steps after."""
    max_context_turns: Size = 7
    """Turns before a reply that an encoder-decoder sees, at most."""
    validation_percent: Annotated[float, Field(gt=0.0, lt=50.0)] = 2.0
    """Dialogues held out, chosen by a hash of their id."""
    validation_every: Size = 500
    """Steps between validations; a checkpoint is written at each."""
    keep_checkpoints: Size = 2
    """How many of the newest checkpoints stay; the best weights stay besides."""
    patience: Size | None = None
    """End the last stage after so many validations without a new best; by default never."""
    tensorboard: bool = False
    """Also write curves for TensorBoard, to `tensorboard/` in the run's folder."""
    decoding: DecodingConfig = DecodingConfig()
    """How the finished model answers by default."""
    sample_contexts: list[list[str]] = []
    """Dialogues to which the model card shows replies."""
    training_note: str = ""
    """What else is to be known about the training, for the model card."""
    weaknesses: list[str] = []
    """What was seen to go wrong, for the model card."""
    preparation: PreparationConfig | None = None
    """What the sources go through before they are learnt: filters, scrub, removal of copies, as by
    `dgm prepare`. None: they are learnt as they are. Held-out replies are measured as they are."""
    tokenizer: TokenizerConfig | None = None
    """The tokenizer that is trained first; none where data sets bring theirs."""
    model: AnyModelConfig
    """Architecture and sizes."""
    stages: Annotated[list[StageConfig], Field(min_length=1)]
    """Parts of the training, in order."""

    @property
    def dialogue_sources(self) -> list[SourceConfig]:
        """The sources of all dialogue stages, each once: what replies are held out of."""
        stages = [stage for stage in self.stages if stage.objective == "dialogue"]
        return list({source.path: source for stage in stages for source in stage.sources}.values())

    @field_validator("preparation", mode="before")
    @classmethod
    def _profile_decides_on_filters(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        try:
            return preparation_config(value, None)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _prepared_sources_are_read_once(self) -> Self:
        if self.preparation is None:
            return self
        if self.privacy is not None:
            raise ValueError("a private training learns from a data set; remove [preparation]")
        if self.preparation.sources:
            raise ValueError("the stages say what is prepared; remove preparation.sources")
        said: dict[str, tuple[str | None, int | None]] = {}
        for source in (source for stage in self.stages for source in stage.sources):
            read = (source.reply_speaker, source.limit)
            if said.setdefault(source.path, read) != read:
                raise ValueError(
                    f"{source.path} is prepared once; give it one reply_speaker and one limit"
                )
        return self

    @model_validator(mode="after")
    def _first_turns_are_for_gpt(self) -> Self:
        for stage in (stage for stage in self.stages if stage.learnt == "turns"):
            if self.model.kind != "gpt":
                raise ValueError("an encoder-decoder learns replies alone; set learnt = 'replies'")
            if any(source.reply_speaker for source in stage.sources):
                raise ValueError(
                    "reply_speaker and learnt = 'turns' exclude each other; remove one"
                )
        return self

    @model_validator(mode="after")
    def _privacy_is_of_one_stage(self) -> Self:
        if self.privacy is None:
            return self
        if len(self.stages) > 1 or self.stages[0].objective != "dialogue":
            raise ValueError("a private training has one stage, of dialogue; remove the others")
        if self.accumulate > 1 or self.compile or self.activation_checkpointing:
            raise ValueError(
                "a private training takes no accumulate, compile or activation_checkpointing"
            )
        return self

    @model_validator(mode="after")
    def _adapters_are_for_a_trained_model(self) -> Self:
        if self.lora is not None and self.start_from is None:
            raise ValueError("an adapter needs the model that it is for; give start_from")
        return self

    @model_validator(mode="after")
    def _text_is_for_gpt_and_not_held_out(self) -> Self:
        texts = [stage for stage in self.stages if stage.objective == "text"]
        if texts and self.model.kind != "gpt":
            raise ValueError("an encoder-decoder learns from dialogue; remove the text stages")
        validated = {source.path for source in self.dialogue_sources}
        if not validated:
            raise ValueError(
                "a recipe needs a stage of dialogue, whose held-out replies validate it"
            )
        for path in (source.path for stage in texts for source in stage.sources):
            if path in validated and path.endswith((".jsonl", ".jsonl.zst", ".txt")):
                raise ValueError(
                    f"a text stage would show the dialogues that are held out of {path}; "
                    "leave it to the dialogue stages"
                )
        return self
