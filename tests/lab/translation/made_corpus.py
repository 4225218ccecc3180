"""A corpus of a made-up language: the same words, spelt otherwise, in another order."""

import random

SYLLABLES = [a + b for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u", "an", "er")]


def write_corpus(folder, train=60, other=12):
    """Write the three parts of a corpus from en to de, and return the folder."""
    generator = random.Random(0)
    words = ["".join(generator.choices(SYLLABLES, k=2)) for _ in range(80)]
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", train), ("val", other), ("test", other)):
        lines = [generator.choices(words, k=generator.randint(2, 7)) for _ in range(count)]
        write(folder / f"{part}.en", (" ".join(line) for line in lines))
        write(folder / f"{part}.de", (" ".join(w[::-1] for w in line[::-1]) for line in lines))
    return folder


def write(path, lines):
    """Write a line each."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
