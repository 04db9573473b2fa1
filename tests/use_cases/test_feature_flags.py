"""Feature flags, for everybody and for single users."""


class FeatureFlags:
    def __init__(self, redis_client):
        self.redis = redis_client
        self.prefix = "feature:"

    def enable(self, flag_name):
        self.redis.set(f"{self.prefix}{flag_name}", "1")

    def disable(self, flag_name):
        self.redis.delete(f"{self.prefix}{flag_name}")

    def is_enabled(self, flag_name):
        return self.redis.get(f"{self.prefix}{flag_name}") == "1"

    def enable_for_user(self, flag_name, user_id):
        self.redis.sadd(f"{self.prefix}{flag_name}:users", user_id)

    def is_enabled_for_user(self, flag_name, user_id):
        if self.is_enabled(flag_name):
            return True
        return bool(self.redis.sismember(f"{self.prefix}{flag_name}:users", user_id))


def test_flags(connect):
    flags = FeatureFlags(connect(decode_responses=True))
    assert not flags.is_enabled("new_checkout_flow")
    flags.enable_for_user("new_checkout_flow", "alice")
    assert flags.is_enabled_for_user("new_checkout_flow", "alice")
    assert not flags.is_enabled_for_user("new_checkout_flow", "bob")
    flags.enable("new_checkout_flow")
    assert flags.is_enabled_for_user("new_checkout_flow", "bob")
    flags.disable("new_checkout_flow")
    assert not flags.is_enabled_for_user("new_checkout_flow", "bob")
    assert flags.is_enabled_for_user("new_checkout_flow", "alice")
