"""Kinds of figures, one file each: from runs to a tidy frame, and from the frame to a drawing."""
