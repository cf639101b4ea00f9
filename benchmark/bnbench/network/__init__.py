"""Torch networks, built from (architecture, placement mask, variant)."""
