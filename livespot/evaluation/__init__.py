"""Interval matching and scores."""
