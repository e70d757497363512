"""Datasets: what others recorded, as tables of labels and caches of aligned faces."""
