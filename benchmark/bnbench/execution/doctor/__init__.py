"""Whether a row that somebody has made keeps what every run relies on: it is trained for a few steps, in several ways.

What is trained is a small network on few images, so a check takes seconds. A check that passes is no proof, and one
that fails is: the numbers of such a row could not be made again.
"""
