"""Engines: float32 clips in, float32 scores out. Not faces, not time, not events."""
