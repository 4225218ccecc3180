"""The audit: predictions in a file, read in blocks, and what they are worth.

Needs numpy, which the extra `softtargets[lab]` brings; Parquet needs `softtargets[parquet]`.
"""
