"""bnbench: a reproducible benchmark suite that takes Batch Normalization apart."""

__version__ = "0.1.0"
