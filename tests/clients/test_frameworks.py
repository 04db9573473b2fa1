"""What web frameworks keep in Redis, on one node and on three, while a server is lost: django-redis, Flask-Session."""

import django
import flask
import pytest
import redis
from conftest import FOLLOW_LIMIT_S, NAME, follow, poll
from flask_session import Session

from django.conf import settings
from django.core.cache import cache
from django.http import JsonResponse
from django.test import Client, override_settings
from django.urls import path
from django_redis.exceptions import ConnectionInterrupted
from django_redis.pool import ConnectionFactory

# What an application has to expect of a server that goes away.
RECONNECT = (redis.ConnectionError, redis.TimeoutError)
RECONNECT_DJANGO = (*RECONNECT, ConnectionInterrupted)
VISITS = 50


class Visits:
    """Counts of one session, as its pages showed them: none is forgotten."""

    def __init__(self):
        self.last = 0

    def see(self, count):
        assert count > self.last, f"the session knew of {self.last} visits, and then of {count}"
        self.last = count


def test_flask_sessions(servers):
    app = flask.Flask(__name__)
    app.config.update(TESTING=True, SESSION_TYPE="redis", SESSION_REDIS=servers.connect())
    Session(app)

    @app.route("/")
    def page():
        flask.session["visits"] = flask.session.get("visits", 0) + 1
        return {"visits": flask.session["visits"]}

    browser, visits = app.test_client(), Visits()
    look = lambda _: visits.see(browser.get("/").json["visits"])
    acknowledged, _ = follow(servers, look, RECONNECT, VISITS, VISITS)
    assert visits.last >= len(acknowledged)
    assert app.test_client().get("/").json["visits"] == 1
    assert len(servers.client().keys("session:*")) == 2


def django_caches(servers):
    options = {}
    location = f"redis://127.0.0.1:{servers.ports[0]}/1"
    if not servers.is_alone:
        location = f"redis://{NAME}/1"
        options = {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "SENTINELS": servers.addresses,
        }
    return {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location, "OPTIONS": options}}


def visit(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"]})


urlpatterns = [path("", visit)]


@pytest.fixture
def django_site(servers):
    """Django with these servers for its cache and its sessions."""
    if not settings.configured:
        settings.configure(
            SECRET_KEY="for tests",
            ROOT_URLCONF=__name__,
            ALLOWED_HOSTS=["testserver"],
            MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
            SESSION_ENGINE="django.contrib.sessions.backends.cache",
        )
        django.setup()
    # Kept for the life of a process by address, and this name may be that of former servers.
    ConnectionFactory._pools.clear()
    with override_settings(CACHES=django_caches(servers)):
        yield


def test_django_sessions(servers, django_site):
    browser, visits = Client(), Visits()
    look = lambda _: visits.see(browser.get("/").json()["visits"])
    acknowledged, _ = follow(servers, look, RECONNECT_DJANGO, VISITS, VISITS)
    assert visits.last >= len(acknowledged)
    assert Client().get("/").json()["visits"] == 1


def test_django_redis_cache(servers, django_site):
    def write(n):
        cache.set(f"page:{n}", {"number": n}, timeout=600)
        cache.set_many({f"a:{n}": n, f"b:{n}": n})

    acknowledged, _ = follow(servers, write, RECONNECT_DJANGO, VISITS, VISITS)
    pages = cache.get_many([f"page:{n}" for n in acknowledged])
    assert pages == {f"page:{n}": {"number": n} for n in acknowledged}
    assert cache.get_many([f"b:{n}" for n in acknowledged]) == {f"b:{n}": n for n in acknowledged}

    # What django-redis has beyond Django's own cache.
    assert 0 < cache.ttl("page:1") <= 600
    assert cache.persist("page:1") and cache.ttl("page:1") is None
    assert cache.expire("page:1", timeout=60) and cache.ttl("page:1") <= 60
    assert not cache.set("page:1", "other", nx=True) and cache.get("page:1") == {"number": 1}
    assert set(cache.iter_keys("page:*")) >= {f"page:{n}" for n in acknowledged}
    assert cache.get_or_set("new", lambda: "made", timeout=60) == "made"
    cache.set("hits", 1)
    assert (cache.incr("hits", 4), cache.decr("hits")) == (5, 4)
    with cache.lock("lock", timeout=30):
        assert not cache.lock("lock", timeout=30, blocking=False).acquire()
    assert cache.delete_pattern("a:*") >= len(acknowledged)
    assert cache.get_many([f"a:{n}" for n in acknowledged]) == {}
    cache.clear()
    assert list(cache.iter_keys("*")) == []
