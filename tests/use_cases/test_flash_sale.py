"""A flash sale: many buyers, limited stock, nothing sold twice."""

from concurrent.futures import ThreadPoolExecutor

from redis.exceptions import WatchError


def test_decrement_and_revert_never_oversells(connect):
    redis_client = connect(db=0)
    redis_client.set("item_stock:iphone16", 100)

    def purchase_item(user_id, item):
        stock_left = redis_client.decr(f"item_stock:{item}")
        if stock_left >= 0:
            return True
        redis_client.incr(f"item_stock:{item}")
        return False

    with ThreadPoolExecutor(32) as pool:
        sold = list(pool.map(lambda user: purchase_item(user, "iphone16"), range(500)))
    assert sold.count(True) == 100
    assert int(redis_client.get("item_stock:iphone16")) == 0


def test_script_sells_to_each_buyer_once(connect):
    client = connect()
    client.set("stock", 50)
    buy = client.register_script("""
        if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return -1 end
        if tonumber(redis.call('GET', KEYS[1])) <= 0 then return 0 end
        redis.call('DECR', KEYS[1])
        redis.call('SADD', KEYS[2], ARGV[1])
        return 1
    """)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: buy(keys=["stock", "buyers"], args=[i % 80]), range(320)))
    assert answers.count(1) == 50
    assert client.get("stock") == b"0"
    assert client.scard("buyers") == 50


def test_watch_sells_what_is_there(connect):
    client = connect()
    client.set("stock", 10)

    def purchase(_):
        with client.pipeline() as pipe:
            while True:
                try:
                    pipe.watch("stock")
                    if int(pipe.get("stock")) <= 0:
                        return False
                    pipe.multi()
                    pipe.decr("stock")
                    pipe.execute()
                    return True
                except WatchError:
                    continue

    with ThreadPoolExecutor(8) as pool:
        sold = list(pool.map(purchase, range(30)))
    assert sold.count(True) == 10
    assert client.get("stock") == b"0"
