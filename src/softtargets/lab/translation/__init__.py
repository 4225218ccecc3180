"""Translation: parallel text, a subword vocabulary, an encoder-decoder, beam search, scores.

`vocabulary` needs tokenizers and `score` needs sacrebleu, both in the extra `translation`; they
are imported where they are used.
"""
