"""Motion of the skin by region, and spotting from it without training."""
