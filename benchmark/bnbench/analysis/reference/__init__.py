"""Results against stored reference results: what is stored, how it is compared, how the outcome is told."""
