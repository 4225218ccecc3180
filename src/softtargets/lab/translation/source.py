"""A corpus as one word on a command line."""

from softtargets.lab.errors import LabError
from softtargets.lab.translation import corpus
from softtargets.lab.translation.corpus import Corpus

NAME = "translation"
_OPTIONS = ("source", "target", "test")


def is_translation(text: str) -> bool:
    """Return whether a word names a corpus."""
    return text == NAME or text.startswith(f"{NAME}:")


def load(text: str) -> Corpus:
    """Return the corpus that a word names.

    Args:
        text: `translation:FOLDER`, with options after a question mark: `source` and `target`, the
            languages (en and de), and `test`, the name of the test part.

    Raises:
        LabError: it names none, or the corpus cannot be read.
    """
    name, _, place = text.partition(":")
    folder, mark, tail = place.partition("?")
    if name != NAME or not folder:
        raise LabError(f"{text}: a corpus is named {NAME}:FOLDER")
    options: dict[str, str] = {}
    for part in tail.split("&") if mark else []:
        option, equals, value = part.partition("=")
        if option not in _OPTIONS or option in options or not equals or not value:
            raise LabError(
                f"{text}: options of a corpus must be {', '.join(_OPTIONS)}, each once, got {part}"
            )
        options[option] = value
    return corpus.load(
        folder, options.get("source", "en"), options.get("target", "de"), test=options.get("test")
    )
