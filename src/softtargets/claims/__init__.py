"""The papers' claims as tests: runs in, an effect with its interval and a verdict out."""
