"""A joint subword vocabulary: byte-level byte-pair encoding by the tokenizers library."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, final

from softtargets.lab.errors import LabError

PAD, START, END = 0, 1, 2
SPECIAL = ("<pad>", "<s>", "</s>")
SMALLEST = len(SPECIAL) + 256  # every byte has a token, so no sentence is out of vocabulary


@final
class Vocabulary:
    """Tokens of two languages together, so that one embedding serves both and the output layer.

    Every byte is a token and merges of frequent neighbours are the others: any text can be encoded,
    there is no unknown token, and decoding gives the text back. What a text holds that looks like
    a special token is text. Made by `learn` or `load`.

    Attributes:
        size: number of tokens.
        digest: hash of all tokens and merges; what a checkpoint is tied to.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.size: int = tokenizer.get_vocab_size()
        model = json.loads(tokenizer.to_str())["model"]
        parts = json.dumps([model["vocab"], model["merges"]], sort_keys=True)
        self.digest = hashlib.sha256(parts.encode()).hexdigest()[:16]

    @classmethod
    def learn(cls, sentences: Iterable[str], size: int) -> "Vocabulary":
        """Return the vocabulary of a text: the same one for the same sentences.

        Args:
            sentences: of both languages, of the training part alone.
            size: number of tokens, special ones included.

        Raises:
            LabError: the text holds too little for so many tokens, or tokenizers is not installed.
            ValueError: `size` is below what the bytes and special tokens take.
        """
        if size < SMALLEST:
            raise ValueError(
                f"`size` must be at least {SMALLEST}, the bytes and {len(SPECIAL)} special tokens, "
                f"got {size}"
            )
        tokenizers = _tokenizers()
        tokenizer = _untrained(tokenizers)
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=size,
            show_progress=False,
            special_tokens=list(SPECIAL),
            initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        )
        tokenizer.train_from_iterator(sentences, trainer)
        found = tokenizer.get_vocab_size()
        if found != size:
            raise LabError(
                f"the training text has {found} subwords, {size} were asked for; ask for {found} "
                f"or fewer, as with --vocabulary {found}"
            )
        return cls(tokenizer)

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Return a vocabulary that `save` wrote.

        Raises:
            LabError: the file cannot be read or holds another kind of tokenizer.
        """
        tokenizers = _tokenizers()
        try:
            # The library raises bare Exception for whatever it cannot parse.
            tokenizer = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:
            raise LabError(
                f"{path} cannot be read as a vocabulary: {error}; learn it again"
            ) from error
        numbers = [tokenizer.token_to_id(token) for token in SPECIAL]
        if numbers != list(range(len(SPECIAL))):
            raise LabError(
                f"{path}: {', '.join(SPECIAL)} must be the tokens 0, 1 and 2, got {numbers}; learn "
                "the vocabulary again"
            )
        tokenizer.encode_special_tokens = True
        return cls(tokenizer)

    def save(self, path: Path) -> None:
        """Write the vocabulary as one JSON file."""
        path.write_bytes(self.content())

    def content(self) -> bytes:
        """Return the content of the file that `save` writes."""
        text: str = self._tokenizer.to_str(pretty=True)
        return text.encode()

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Return the text of each token by itself; bytes of a part of a character show as such."""
        return [self._tokenizer.decode([token], skip_special_tokens=False) for token in tokens]

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each sentence, without start and end."""
        encoded = self._tokenizer.encode_batch_fast(list(sentences), add_special_tokens=False)
        return [each.ids for each in encoded]

    def decode(self, tokens: Iterable[Sequence[int]]) -> list[str]:
        """Return the text of each sequence; special tokens are left out.

        Raises:
            ValueError: a token is out of range.
        """
        sequences = [list(each) for each in tokens]
        for each in sequences:
            for token in each:
                if not 0 <= token < self.size:
                    raise ValueError(
                        f"`tokens` must be in 0 .. {self.size - 1}, the vocabulary, got {token}"
                    )
        texts: list[str] = self._tokenizer.decode_batch(sequences, skip_special_tokens=True)
        return texts


def _untrained(tokenizers: Any) -> Any:
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise LabError(
            "subword vocabularies need tokenizers; pip install 'softtargets[translation]'"
        ) from error
    return tokenizers
