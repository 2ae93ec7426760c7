"""Model folders as folders for other engines: transformers, ONNX, CTranslate2."""

from typing import Literal, TypeAlias

Format: TypeAlias = Literal["huggingface", "onnx", "ctranslate2"]
"""What `dgm export` can write."""
