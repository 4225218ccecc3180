"""Measuring what losses cost: gate, time, memory, record; see `softtargets bench`."""
