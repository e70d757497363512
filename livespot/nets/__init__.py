"""Networks in PyTorch, one per file. The runtime never imports them."""
