"""Where training meets storage: one run in this process, or many side by side."""
