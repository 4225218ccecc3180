"""A trained model on disk, tied to its vocabulary."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from softtargets.lab.errors import LabError
from softtargets.lab.records import pack_state, write_atomically
from softtargets.lab.translation.model import Size, Transformer
from softtargets.lab.translation.vocabulary import Vocabulary


def save(path: Path, model: Transformer, vocabulary: Vocabulary) -> None:
    """Write the model, its sizes and the digest of its vocabulary.

    Raises:
        ValueError: the vocabulary has another number of tokens than the model.
    """
    if model.size.vocabulary != vocabulary.size:
        raise ValueError(
            f"`vocabulary` must have the model's {model.size.vocabulary} tokens, got "
            f"{vocabulary.size}"
        )
    content: dict[str, Any] = {
        "size": asdict(model.size),
        "vocabulary": vocabulary.digest,
        "model": model.state_dict(),
    }
    write_atomically(path, pack_state(content))


def load(path: Path, vocabulary: Vocabulary) -> Transformer:
    """Return the model of a checkpoint, in eval mode.

    Raises:
        LabError: the file cannot be read, is another kind of file, or its model was trained with
            another vocabulary.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        size, digest, state = Size(**content["size"]), content["vocabulary"], content["model"]
    # What torch.load raises for a file that is not its own has no common class.
    except Exception as error:
        raise LabError(
            f"{path} cannot be read as a translation model: {error}; train it again"
        ) from error
    if digest != vocabulary.digest:
        raise LabError(
            f"{path} was trained with the vocabulary {digest} of {size.vocabulary} tokens, this "
            f"one is {vocabulary.digest} of {vocabulary.size}; load the one saved beside it"
        )
    model = Transformer(size)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise LabError(f"{path} is damaged: {error}; train it again") from error
    return model.eval()
