"""Property tests assert behaviour, never speed: a slow or busy machine must not fail them.

They draw the same examples every time, so that a change is not blamed for what chance has found: who wants others calls
pytest with `--hypothesis-profile=searching`.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("searching", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("bnbench", settings.get_profile("searching"), derandomize=True)
settings.load_profile("bnbench")
