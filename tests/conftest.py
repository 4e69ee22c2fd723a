"""How the tests run, on a quiet machine or a busy one."""

from hypothesis import HealthCheck, settings

# On a busy machine an example takes as long as it takes: how fast a property runs is no property.
settings.register_profile("feedhandler", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("feedhandler")
