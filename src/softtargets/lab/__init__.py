"""The laboratory: data sets, models, a trainer that resumes exactly, records, comparisons.

Needs the extra `softtargets[lab]`.
"""
