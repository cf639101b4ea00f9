"""What the recorded runs say: frames, statistics, rankings. Reads the store only."""
