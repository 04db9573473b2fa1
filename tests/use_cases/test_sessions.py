"""Sessions: JSON under SETEX, hashes with EXPIRE, Flask-Session."""

import json
import time
import uuid
from datetime import datetime, timedelta, timezone


class RedisSession:
    def __init__(self, redis_client, ttl=3600):
        self.redis = redis_client
        self.ttl = ttl
        self.session_prefix = "session:"

    def create_session(self, user_id, metadata=None):
        session_id = str(uuid.uuid4())
        session_data = {
            "user_id": user_id,
            "created_at": datetime.now(timezone.utc).isoformat(),
            "metadata": metadata or {},
        }
        self.redis.setex(f"{self.session_prefix}{session_id}", self.ttl, json.dumps(session_data))
        return session_id

    def get_session(self, session_id):
        data = self.redis.get(f"{self.session_prefix}{session_id}")
        return json.loads(data) if data else None

    def update_session(self, session_id, data):
        current = self.get_session(session_id)
        if current:
            current.update(data)
            self.redis.setex(f"{self.session_prefix}{session_id}", self.ttl, json.dumps(current))

    def refresh_session(self, session_id):
        session_key = f"{self.session_prefix}{session_id}"
        if self.redis.exists(session_key):
            self.redis.expire(session_key, self.ttl)

    def destroy_session(self, session_id):
        self.redis.delete(f"{self.session_prefix}{session_id}")


def test_session_from_login_to_logout(connect):
    client = connect()
    sessions = RedisSession(client)
    session_id = sessions.create_session("user_123", {"device": "phone"})
    assert sessions.get_session(session_id)["metadata"] == {"device": "phone"}

    sessions.update_session(session_id, {"cart": ["lamp"]})
    session = sessions.get_session(session_id)
    assert (session["user_id"], session["cart"]) == ("user_123", ["lamp"])

    client.expire(f"session:{session_id}", 10)
    sessions.refresh_session(session_id)
    assert client.ttl(f"session:{session_id}") > 3500

    sessions.destroy_session(session_id)
    assert sessions.get_session(session_id) is None
    sessions.update_session(session_id, {"cart": []})
    sessions.refresh_session(session_id)
    assert client.dbsize() == 0


def test_inactive_session_ends_by_itself(connect, eventually):
    client = connect()
    sessions = RedisSession(client, ttl=1)
    session_id = sessions.create_session("user_123")
    assert sessions.get_session(session_id) is not None
    eventually(lambda: sessions.get_session(session_id) is None)


def test_session_in_a_hash_is_updated_field_by_field(connect):
    r = connect(decode_responses=True)
    key = f"session:{uuid.uuid4()}"
    r.hset(key, mapping={"user_id": "user_123", "username": "alice", "last_activity": time.time()})
    r.expire(key, timedelta(minutes=30))
    r.hset(key, "last_activity", 1234.5)
    assert 1790 <= r.ttl(key) <= 1800
    r.expire(key, timedelta(minutes=60))
    assert 3590 <= r.ttl(key) <= 3600
    assert r.hget(key, "username") == "alice"
    assert r.hgetall(key) == {"user_id": "user_123", "username": "alice", "last_activity": "1234.5"}
    r.hincrby(key, "visits", 1)
    assert r.hmget(key, "visits", "missing") == ["1", None]


def test_flask_session(connect):
    from flask import Flask, request, session
    from flask_session import Session

    store = connect(db=1)
    app = Flask(__name__)
    app.config["SECRET_KEY"] = "only for this test"
    app.config["SESSION_TYPE"] = "redis"
    app.config["SESSION_PERMANENT"] = False
    app.config["SESSION_KEY_PREFIX"] = "flask_session:"
    app.config["SESSION_REDIS"] = store
    Session(app)

    @app.route("/login", methods=["POST"])
    def login():
        session["user_id"] = request.json["user"]
        session["logged_in"] = True
        return {"status": "success"}

    @app.route("/whoami")
    def whoami():
        return {"user": session.get("user_id")}

    @app.route("/logout")
    def logout():
        session.clear()
        return {"status": "logged out"}

    browser, stranger = app.test_client(), app.test_client()
    assert browser.post("/login", json={"user": "alice"}).json == {"status": "success"}
    assert browser.get("/whoami").json == {"user": "alice"}
    assert stranger.get("/whoami").json == {"user": None}
    keys = store.keys("flask_session:*")
    assert len(keys) == 1
    assert store.ttl(keys[0]) > 0
    assert browser.get("/logout").json == {"status": "logged out"}
    assert browser.get("/whoami").json == {"user": None}
    assert store.keys("flask_session:*") == []
