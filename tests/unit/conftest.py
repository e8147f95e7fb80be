from hypothesis import HealthCheck, settings

# no deadline and no check of speed: a busy machine is not a bug
settings.register_profile("unit", max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")
