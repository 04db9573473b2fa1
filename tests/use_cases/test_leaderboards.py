"""Leaderboards on sorted sets."""


def test_scores_ranks_and_the_top(connect):
    redis_client = connect(db=0)
    for player, score in [("ann", 10), ("ben", 30), ("cat", 20)]:
        redis_client.zadd("game_leaderboard", {player: score})
    top = redis_client.zrevrange("game_leaderboard", 0, 1, withscores=True)
    assert [tuple(entry) for entry in top] == [(b"ben", 30.0), (b"cat", 20.0)]
    assert redis_client.zincrby("game_leaderboard", 25, "ann") == 35.0
    assert redis_client.zrevrange("game_leaderboard", 0, 0) == [b"ann"]


def test_global_leaderboard_of_many_players(connect):
    r = connect(decode_responses=True)
    with r.pipeline(transaction=False) as pipe:
        for i in range(1000):
            pipe.zincrby("leaderboard:global", i, f"player_{i:03}")
        pipe.execute()
    r.zincrby("leaderboard:global", 100, "player_123")
    assert r.zscore("leaderboard:global", "player_123") == 223.0
    top = [tuple(entry) for entry in r.zrevrange("leaderboard:global", 0, 9, withscores=True)]
    assert top == [(f"player_{i}", float(i)) for i in range(999, 989, -1)]
    # Equal scores are in the order of the names, here reversed.
    assert r.zrevrank("leaderboard:global", "player_223") == 999 - 223
    assert r.zrevrank("leaderboard:global", "player_123") == 999 - 222
    assert len(r.zrevrange("leaderboard:global", 40, 50, withscores=True)) == 11


class Leaderboard:
    def __init__(self, redis_client, leaderboard_name):
        self.redis = redis_client
        self.key = f"leaderboard:{leaderboard_name}"

    def set_score(self, member, score):
        return self.redis.zadd(self.key, {member: score})

    def increment(self, member, increment):
        return self.redis.zincrby(self.key, increment, member)

    def get_rank(self, member, reverse=False):
        if reverse:
            return self.redis.zrevrank(self.key, member)
        return self.redis.zrank(self.key, member)

    def get_top(self, count=10, with_scores=True):
        return self.redis.zrevrange(self.key, 0, count - 1, withscores=with_scores)

    def get_around_me(self, member, count=5):
        rank = self.redis.zrevrank(self.key, member)
        if rank is None:
            return []
        return self.redis.zrevrange(self.key, max(0, rank - count), rank + count, withscores=True)

    def get_percentile(self, member):
        rank = self.redis.zrevrank(self.key, member)
        if rank is None:
            return None
        total = self.redis.zcard(self.key)
        return (rank / total) * 100 if total > 0 else 0


def test_season_leaderboard(connect):
    leaderboard = Leaderboard(connect(decode_responses=True), "game_season_1")
    assert leaderboard.set_score("player_123", 1500) == 1
    assert leaderboard.set_score("player_123", 1500.5) == 0
    assert leaderboard.increment("player_456", 100) == 100.0
    for i in range(8):
        leaderboard.set_score(f"p{i}", i)
    assert [tuple(e) for e in leaderboard.get_top(2)] == [("player_123", 1500.5), ("player_456", 100.0)]
    assert leaderboard.get_top(1, with_scores=False) == ["player_123"]
    assert (leaderboard.get_rank("player_123"), leaderboard.get_rank("player_123", reverse=True)) == (9, 0)
    assert leaderboard.get_rank("nobody") is None
    around = leaderboard.get_around_me("p6", count=1)
    assert [tuple(e) for e in around] == [("p7", 7.0), ("p6", 6.0), ("p5", 5.0)]
    assert leaderboard.get_around_me("nobody") == []
    assert leaderboard.get_percentile("p5") == 40.0
    assert leaderboard.get_percentile("nobody") is None
