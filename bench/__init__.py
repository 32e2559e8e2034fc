"""Measurements side by side: rescore beside what people use today, as ratios."""
