"""What a run measures beside its training: a file for each probe, and what hands them the moments they look at."""
