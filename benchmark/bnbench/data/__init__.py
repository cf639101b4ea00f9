"""Data sets: where the pixels come from, how they are split, how a training batch is augmented."""
