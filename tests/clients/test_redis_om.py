"""redis-om: models as hashes and as documents, found again by what is in them, before and after a server is lost."""

import datetime

import pytest
import redis
from conftest import FOLLOW_LIMIT_S, poll
from redis_om import EmbeddedJsonModel, Field, HashModel, JsonModel, Migrator, NotFoundError, VectorFieldOptions
from redis_om.model import model as redis_om_model
from redis_om.model.model import KNNExpression


@pytest.fixture
def db(servers):
    """What the models live in. redis-om keeps a list of all models that there ever were: those of other tests go."""
    redis_om_model.model_registry.clear()
    return servers.connect(decode_responses=True)


def names(query):
    return [model.name for model in query.all()]


def after_a_failure(servers, ask):
    """The answer of a client that went on while a server was lost."""
    servers.fail()

    def answer():
        try:
            return [ask()]
        except redis.RedisError:
            # The node that is alone is still starting; redis-py has tried again a few times.
            return None

    return poll(answer, FOLLOW_LIMIT_S, "an answer after the failure")[0]


def test_hash_models(servers, db):
    class Customer(HashModel, index=True):
        name: str = Field(index=True, sortable=True)
        age: int = Field(index=True, sortable=True)
        joined: datetime.date
        bio: str | None = Field(index=True, full_text_search=True, default="")

        class Meta:
            database = db
            index_name = "idx:customers"

    Migrator(conn=db).run()
    joined = datetime.date(2024, 2, 29)
    people = [("Andrew", 38, "Makes lamps"), ("Berta", 41, "Sells a lamp now and then"), ("Carl", 12, "Goes to school")]
    for name, age, bio in people:
        Customer(name=name, age=age, joined=joined, bio=bio).save()
    andrew = Customer.find(Customer.name == "Andrew").first()
    assert (andrew.age, andrew.joined) == (38, joined)
    assert Customer.get(andrew.pk) == andrew

    assert names(Customer.find(Customer.age > 18).sort_by("age")) == ["Andrew", "Berta"]
    assert names(Customer.find(Customer.age > 18).sort_by("-age")) == ["Berta", "Andrew"]
    assert names(Customer.find((Customer.age < 18) | (Customer.name == "Berta")).sort_by("name")) == ["Berta", "Carl"]
    assert names(Customer.find(~(Customer.name == "Berta")).sort_by("age")) == ["Carl", "Andrew"]
    assert names(Customer.find(Customer.bio % "lamp").sort_by("age")) == ["Andrew", "Berta"]
    assert names(Customer.find(Customer.name << ["Andrew", "Carl"]).sort_by("name")) == ["Andrew", "Carl"]
    assert names(Customer.find(Customer.name.startswith("Be"))) == ["Berta"]
    assert Customer.find(Customer.age >= 38).count() == 2
    assert [c.name for c in Customer.find().sort_by("age").page(offset=1, limit=1)] == ["Andrew"]

    andrew.update(age=39)
    assert Customer.find(Customer.age == 39).first().pk == andrew.pk
    Customer.delete(Customer.find(Customer.name == "Carl").first().pk)
    with pytest.raises(NotFoundError):
        Customer.find(Customer.name == "Carl").first()
    assert len(list(Customer.all_pks())) == 2

    def ask():
        return names(Customer.find(Customer.bio % "lamp").sort_by("-age"))

    before = ask()
    assert before == ["Berta", "Andrew"]
    assert after_a_failure(servers, ask) == before
    Customer(name="Dora", age=50, joined=joined, bio="No lamp without me").save()
    assert ask() == ["Dora", "Berta", "Andrew"]


def test_json_models_with_others_inside(servers, db):
    class Address(EmbeddedJsonModel, index=True):
        city: str = Field(index=True)
        note: str = Field(index=True, full_text_search=True, default="")

        class Meta:
            database = db
            embedded = True

    class Order(EmbeddedJsonModel, index=True):
        item: str = Field(index=True)
        total: float

        class Meta:
            database = db
            embedded = True

    class Customer(JsonModel, index=True):
        name: str = Field(index=True, sortable=True)
        age: int = Field(index=True, sortable=True)
        tags: list[str] = Field(index=True, default=[])
        address: Address
        orders: list[Order] = []

        class Meta:
            database = db
            index_name = "idx:json-customers"

    Migrator(conn=db).run()
    Customer(
        name="Andrew",
        age=38,
        tags=["early", "two words"],
        address=Address(city="Lyon", note="the red door"),
        orders=[Order(item="lamp", total=4.5)],
    ).save()
    Customer(
        name="Berta",
        age=41,
        tags=["early"],
        address=Address(city="San Antonio", note="ring at the blue doors"),
        orders=[Order(item="chair", total=20), Order(item="lamp", total=5)],
    ).save()

    assert names(Customer.find(Customer.address.city == "San Antonio")) == ["Berta"]
    assert names(Customer.find(Customer.address.note % "door").sort_by("name")) == ["Andrew", "Berta"]
    assert names(Customer.find(Customer.tags << ["two words"])) == ["Andrew"]
    assert names(Customer.find(Customer.orders.item == "chair")) == ["Berta"]
    assert names(Customer.find((Customer.orders.item == "lamp") & (Customer.age < 40))) == ["Andrew"]
    berta = Customer.find(Customer.name == "Berta").first()
    assert berta.orders[1].total == 5 and berta.address.city == "San Antonio"
    berta.update(address__city="Lyon")
    assert names(Customer.find(Customer.address.city == "Lyon").sort_by("-age")) == ["Berta", "Andrew"]
    assert Customer.get(berta.pk).address.city == "Lyon"
    berta.expire(1000)
    assert 0 < db.ttl(berta.key()) <= 1000

    def ask():
        return names(Customer.find(Customer.address.city == "Lyon").sort_by("age"))

    assert after_a_failure(servers, ask) == ["Andrew", "Berta"]


def test_the_nearest_models(servers, db):
    import struct

    options = VectorFieldOptions.flat(
        type=VectorFieldOptions.TYPE.FLOAT32,
        dimension=2,
        distance_metric=VectorFieldOptions.DISTANCE_METRIC.COSINE,
    )

    class Item(JsonModel, index=True):
        name: str = Field(index=True)
        embedding: list[float] = Field([], index=True, vector_options=options)
        score: float | None = None

        class Meta:
            database = db
            index_name = "idx:items"

    Migrator(conn=db).run()
    for name, embedding in [("east", [1, 0]), ("north", [0, 1]), ("northeast", [1, 1])]:
        Item(name=name, embedding=embedding).save()
    knn = KNNExpression(
        k=2, vector_field=Item.embedding, score_field=Item.score, reference_vector=struct.pack("<2f", 1, 0.1)
    )
    found = Item.find(knn=knn).all()
    assert [item.name for item in found] == ["east", "northeast"]
    assert found[0].score == pytest.approx(0.005, abs=1e-3)


def test_a_migration_makes_the_index_anew(db):
    def model(**more):
        redis_om_model.model_registry.clear()

        class Thing(HashModel, index=True):
            name: str = Field(index=True)
            size: int = Field(**more)

            class Meta:
                database = db
                index_name = "idx:things"
                global_key_prefix = "things"
                model_key_prefix = "thing"

        Migrator(conn=db).run()
        return Thing

    thing = model()
    thing(name="nail", size=3).save()
    thing(name="plank", size=200).save()
    info = db.ft("idx:things").info()
    assert info["index_name"] == "idx:things"
    sized = model(index=True, sortable=True)
    poll(
        lambda: float(db.ft("idx:things").info()["percent_indexed"]) == 1, FOLLOW_LIMIT_S, "the index to be built"
    )
    assert names(sized.find(sized.size > 100)) == ["plank"]
    assert names(sized.find().sort_by("-size")) == ["plank", "nail"]
