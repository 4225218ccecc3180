"""Pages and tables of comparisons beside classification, a module named as the kind of runs."""
