"""What people look at: figures (a frame in, a matplotlib figure out), tables in every form, one page."""
