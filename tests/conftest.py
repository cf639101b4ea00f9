"""Property tests assert behaviour, never speed: a slow or busy machine must not fail them."""

from hypothesis import HealthCheck, settings

settings.register_profile("bnbench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bnbench")
