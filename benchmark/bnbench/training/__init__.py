"""The training loop: a generator of typed events that touches neither files nor terminal."""
