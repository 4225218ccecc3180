"""The audit for readers: sentences, tables for the terminal, and one self-contained page."""
