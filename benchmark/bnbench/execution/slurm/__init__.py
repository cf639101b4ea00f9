"""Sweeps on a Slurm cluster: what a job asks for, how jobs are submitted, what they do, what becomes of them."""
