"""The report: a comparison as tables for the terminal and as one self-contained page.

Needs the extra `softtargets[lab]`. Nothing is computed twice: the report reads finished records.
"""
