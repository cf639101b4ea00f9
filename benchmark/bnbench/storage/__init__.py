"""Runs on disk: explicit Parquet schemas, the recorder that writes a run, the store that finds it again."""
