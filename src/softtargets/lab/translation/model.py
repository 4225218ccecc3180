"""A short Transformer encoder-decoder with a cache for decoding.

Our own because `torch.nn.TransformerDecoder` has no cache, so that decoding costs the square of the
length, and transformers, which has one, is ten times the size of what else this study needs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from softtargets.lab.translation.decoding import AbstractDecoding
from softtargets.lab.translation.vocabulary import PAD

Cache = tuple[Tensor, Tensor]  # keys and values, (rows, heads, length, width / heads)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The sizes of a `Transformer`.

    Attributes:
        vocabulary: number of tokens of both languages together.
        width: of embeddings and hidden states; a multiple of `2 * heads`.
        heads: of each attention.
        layers: of the encoder, and as many of the decoder.
        feed_forward: width inside each feed-forward block.
        dropout: of embeddings and of each block's output.
    """

    vocabulary: int
    width: int = 128
    heads: int = 4
    layers: int = 3
    feed_forward: int = 256
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("vocabulary", "width", "heads", "layers", "feed_forward"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if self.width % (2 * self.heads):
            raise ValueError(
                f"`width` must be a multiple of 2 * heads, {2 * self.heads}, got {self.width}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1), got {self.dropout}")


@final
class Attention(nn.Module):
    """Multi-head attention; keys and values are made apart from it, to be kept."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.query = nn.Linear(size.width, size.width)
        self.key_value = nn.Linear(size.width, 2 * size.width)
        self.output = nn.Linear(size.width, size.width)

    def keys_values(self, states: Tensor) -> Cache:
        """Return keys and values `(B, heads, L, width / heads)` of states `(B, L, width)`."""
        keys, values = self.key_value(states).chunk(2, -1)
        return self._split(keys), self._split(values)

    def forward(
        self,
        states: Tensor,
        keys: Tensor,
        values: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Return what each state `(B, L, width)` reads; `mask` is True at keys that count."""
        queries = self._split(self.query(states))
        read = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, is_causal=causal
        )
        result: Tensor = self.output(read.transpose(1, 2).flatten(2))
        return result

    def _split(self, states: Tensor) -> Tensor:
        return states.view(*states.shape[:2], self.heads, -1).transpose(1, 2)


def _feed_forward(size: Size) -> nn.Module:
    return nn.Sequential(
        nn.Linear(size.width, size.feed_forward),
        nn.ReLU(),
        nn.Linear(size.feed_forward, size.width),
    )


@final
class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward block, each normalised before and added after."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(size), _feed_forward(size)
        self.attention_norm = nn.LayerNorm(size.width)
        self.feed_forward_norm = nn.LayerNorm(size.width)
        self.dropout = nn.Dropout(size.dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return `(B, S, width)`; `mask` is True at tokens."""
        normed = self.attention_norm(states)
        read = self.attention(normed, *self.attention.keys_values(normed), mask=mask)
        states = states + self.dropout(read)
        normed = self.feed_forward_norm(states)
        result: Tensor = states + self.dropout(self.feed_forward(normed))
        return result


@final
class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the source, and a feed-forward block."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.attention, self.source = Attention(size), Attention(size)
        self.feed_forward = _feed_forward(size)
        self.attention_norm = nn.LayerNorm(size.width)
        self.source_norm = nn.LayerNorm(size.width)
        self.feed_forward_norm = nn.LayerNorm(size.width)
        self.dropout = nn.Dropout(size.dropout)

    def forward(self, states: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Return `(B, T, width)` of a whole target; `mask` is True at source tokens."""
        normed = self.attention_norm(states)
        read = self.attention(normed, *self.attention.keys_values(normed), causal=True)
        return self._after(states + self.dropout(read), self.source.keys_values(memory), mask)

    def step(
        self, states: Tensor, past: Cache | None, source: Cache, mask: Tensor
    ) -> tuple[Tensor, Cache]:
        """Return the next states `(sentences, beams, width)`, and the cache with them."""
        normed = self.attention_norm(states.flatten(0, 1).unsqueeze(1))
        keys, values = self.attention.keys_values(normed)
        if past is not None:
            keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
        read = self.attention(normed, keys, values).view_as(states)
        # The beams of a sentence are its queries to the source together.
        return self._after(states + read, source, mask), (keys, values)

    def _after(self, states: Tensor, source: Cache, mask: Tensor) -> Tensor:
        read = self.source(self.source_norm(states), *source, mask=mask)
        states = states + self.dropout(read)
        normed = self.feed_forward_norm(states)
        result: Tensor = states + self.dropout(self.feed_forward(normed))
        return result


@final
class Transformer(nn.Module):
    """Pre-norm encoder-decoder; one embedding for both languages and, tied, the output layer.

    Positions are sinusoids, so no length is too long. Sentences are padded on the right with
    `PAD`, which no other position attends to.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(size.vocabulary, size.width)
        nn.init.normal_(self.embedding.weight, std=size.width**-0.5)
        self.encoder = nn.ModuleList(EncoderLayer(size) for _ in range(size.layers))
        self.decoder = nn.ModuleList(DecoderLayer(size) for _ in range(size.layers))
        self.encoder_norm = nn.LayerNorm(size.width)
        self.decoder_norm = nn.LayerNorm(size.width)
        self.dropout = nn.Dropout(size.dropout)

    def forward(self, source: Tensor, inputs: Tensor) -> Tensor:
        """Return logits `(B, T, V)` of what follows each of the tokens `inputs` `(B, T)`."""
        return self.logits(self.hidden(source, inputs))

    def hidden(self, source: Tensor, inputs: Tensor) -> Tensor:
        """Return `(B, T, width)`, what the output layer makes logits of."""
        mask = source_mask(source)
        memory = self.encode(source, mask)
        states = self.embed(inputs)
        for layer in self.decoder:
            states = layer(states, memory, mask)
        result: Tensor = self.decoder_norm(states)
        return result

    def decoder_layers(self) -> list[DecoderLayer]:
        """Return the decoder's layers, first to last."""
        return [layer for layer in self.decoder if isinstance(layer, DecoderLayer)]

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the output layer's logits."""
        return functional.linear(hidden, self.embedding.weight)

    def encode(self, source: Tensor, mask: Tensor) -> Tensor:
        """Return the states of the source `(B, S, width)`."""
        states = self.embed(source)
        for layer in self.encoder:
            states = layer(states, mask)
        result: Tensor = self.encoder_norm(states)
        return result

    def embed(self, tokens: Tensor, first: int = 0) -> Tensor:
        """Return embeddings of tokens `(B, L)` that stand at positions from `first` on."""
        states = self.embedding(tokens) * math.sqrt(self.size.width)
        places = sinusoids(first, tokens.shape[1], self.size.width).to(states)
        result: Tensor = self.dropout(states + places)
        return result

    def decoding(self, source: Tensor) -> "Decoding":
        """Return the state of decoding these sources `(B, S)`, in eval mode without gradients."""
        return Decoding(self, source)


@final
class Decoding(AbstractDecoding):
    """Decoding with the keys and values of what has been decoded kept.

    Those of the source are made once and shared by a sentence's beams.
    """

    @torch.no_grad()
    def __init__(self, model: Transformer, source: Tensor) -> None:
        if model.training:
            raise ValueError("`model` must be in eval mode to decode; call `.eval()` first")
        self._model = model
        self._mask = source_mask(source)
        memory = model.encode(source, self._mask)
        self._source = [layer.source.keys_values(memory) for layer in model.decoder_layers()]
        self._past: list[Cache] = []
        self._length = 0

    @torch.no_grad()
    def step(self, tokens: Tensor) -> Tensor:
        model = self._model
        states = model.embed(tokens.reshape(-1, 1), self._length).view(*tokens.shape, -1)
        past: Sequence[Cache | None] = self._past or [None] * len(self._source)
        self._past, self._length = [], self._length + 1
        for layer, kept, source in zip(model.decoder_layers(), past, self._source, strict=True):
            states, cache = layer.step(states, kept, source, self._mask)
            self._past.append(cache)
        return model.logits(model.decoder_norm(states))

    def select(self, sentences: Tensor | None, beams: Tensor) -> None:
        count = self._past[0][0].shape[0] // len(self._mask)
        if sentences is None:
            first = torch.arange(len(self._mask), device=beams.device)
        else:
            first = sentences
            self._mask = self._mask[sentences]
            self._source = [(k[sentences], v[sentences]) for k, v in self._source]
        rows = (first.unsqueeze(-1) * count + beams).flatten()
        self._past = [(k.index_select(0, rows), v.index_select(0, rows)) for k, v in self._past]


def source_mask(source: Tensor) -> Tensor:
    """Return `(B, 1, 1, S)`, True at tokens."""
    return (source != PAD)[:, None, None]


def sinusoids(first: int, count: int, width: int) -> Tensor:
    """Return the encodings `(count, width)` of positions, sines before cosines."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
    angles = torch.arange(first, first + count).unsqueeze(-1) * rates
    return torch.cat([angles.sin(), angles.cos()], -1)
