"""Synthesised expressions with exact labels."""
