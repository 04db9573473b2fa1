"""Full-text search over products: documents and hashes, text with a price range, as an application asks for them."""

import json

import pytest
import redis
from redis.commands.search.aggregation import AggregateRequest, Desc
from redis.commands.search.field import NumericField, TagField, TextField, VectorField

# redis-py 5 had this under another name, which is the one that older programs import: indexDefinition.
from redis.commands.search.index_definition import IndexDefinition, IndexType
from redis.commands.search.query import Query
from redis.commands.search.reducers import count, sum as total

pytestmark = pytest.mark.usefixtures("search")

PRODUCTS = {
    "product:1": {
        "name": "MacBook Pro",
        "description": "Powerful laptop for developers",
        "price": 2499,
        "stock": 50,
    },
    "product:2": {"name": "Budget Book", "description": "A laptop for every day", "price": 399, "stock": 10},
    "product:3": {
        "name": "Studio Display",
        "description": "Goes with laptops and desktops",
        "price": 1599,
        "stock": 0,
    },
    "product:4": {"name": "Desk", "description": "Holds a keyboard", "price": 1200, "stock": 3},
}


@pytest.fixture
def search(request):
    if request.config.getoption("--server") == "redis":
        pytest.skip("Redis has search since 8.0")


def create_index(r):
    r.ft("idx:products").create_index(
        [
            TextField("name"),
            TextField("description"),
            NumericField("price"),
            NumericField("stock"),
        ],
        definition=IndexDefinition(prefix=["product:"], index_type=IndexType.JSON),
    )


@pytest.fixture
def shop(connect):
    """A client as the application has it, the index, and the products."""
    r = connect(decode_responses=True)
    create_index(r)
    for key, product in PRODUCTS.items():
        r.json().set(key, "$", product)
    return r


def found(result):
    return sorted(doc.id for doc in result.docs)


def test_text_and_a_price_range(connect):
    r = connect(decode_responses=True)
    create_index(r)
    r.json().set("product:1", "$", PRODUCTS["product:1"])

    results = r.ft("idx:products").search("laptop @price:[1000 3000]")

    assert results.total == 1
    assert [doc.id for doc in results.docs] == ["product:1"]
    assert json.loads(results.docs[0].json) == PRODUCTS["product:1"]


def test_all_laptops_between_two_prices(shop):
    search = shop.ft("idx:products").search
    assert found(search("laptop @price:[1000 3000]")) == ["product:1", "product:3"]
    assert found(search("laptop @price:[-inf (2499]")) == ["product:2", "product:3"]
    assert found(search("@price:[1000 3000] @stock:[1 +inf]")) == ["product:1", "product:4"]
    assert found(search("macbook|keyboard")) == ["product:1", "product:4"]
    assert found(search("@name:book*")) == ["product:2"]
    assert found(search("%labtop%")) == ["product:1", "product:2"]
    assert found(search('"every day"')) == ["product:2"]
    assert found(search("@description:laptop -@name:macbook")) == ["product:2", "product:3"]
    assert search("telephone").total == 0


def test_what_is_written_is_found_at_once(shop):
    search = shop.ft("idx:products").search
    shop.json().set("product:2", "$.price", 1100)
    assert found(search("laptop @price:[1000 2000]")) == ["product:2", "product:3"]
    shop.json().numincrby("product:3", "$.price", 1000)
    assert found(search("laptop @price:[1000 2000]")) == ["product:2"]
    shop.json().set("product:4", "$.description", "Now with a laptop")
    assert found(search("laptop @price:[1000 2000]")) == ["product:2", "product:4"]
    shop.delete("product:2")
    assert found(search("laptop @price:[1000 2000]")) == ["product:4"]
    shop.rename("product:4", "retired:4")
    assert found(search("laptop @price:[1000 2000]")) == []


def test_the_page_that_a_shop_shows(shop):
    query = Query("laptop").sort_by("price", asc=False).paging(0, 2).return_fields("name", "price")
    page = shop.ft("idx:products").search(query)
    assert page.total == 3
    assert [(doc.name, float(doc.price)) for doc in page.docs] == [("MacBook Pro", 2499), ("Studio Display", 1599)]
    page = shop.ft("idx:products").search(query.paging(2, 2))
    assert [doc.name for doc in page.docs] == ["Budget Book"]


def test_values_from_the_outside_are_parameters(shop):
    query = Query("@description:$what @price:[$min $max]").dialect(2)
    wanted = {"what": "laptop", "min": 1000, "max": 2000}
    assert found(shop.ft("idx:products").search(query, query_params=wanted)) == ["product:3"]


def test_an_index_over_products_that_are_there_already(connect, eventually):
    r = connect(decode_responses=True)
    for key, product in PRODUCTS.items():
        r.json().set(key, "$", product)
    create_index(r)
    eventually(lambda: float(r.ft("idx:products").info()["percent_indexed"]) == 1)
    assert found(r.ft("idx:products").search("laptop @price:[1000 3000]")) == ["product:1", "product:3"]
    assert int(r.ft("idx:products").info()["num_docs"]) == len(PRODUCTS)
    r.ft("idx:products").dropindex(delete_documents=True)
    assert r.dbsize() == 0
    with pytest.raises(redis.ResponseError, match="(?i)no such index|index not found"):
        r.ft("idx:products").search("laptop")


def test_products_as_hashes_with_tags_and_totals(connect):
    r = connect(decode_responses=True)
    r.ft("idx:hashes").create_index(
        [TextField("name"), TagField("colour"), NumericField("price", sortable=True)],
        definition=IndexDefinition(prefix=["item:"], index_type=IndexType.HASH),
    )
    pipeline = r.pipeline()
    for n, (name, colour, price) in enumerate(
        [("Lamp", "red", 20), ("Reading lamp", "red,blue", 35), ("Chair", "blue", 80), ("Chairs", "blue", 80.5)]
    ):
        pipeline.hset(f"item:{n}", mapping={"name": name, "colour": colour, "price": price})
    pipeline.execute()
    index = r.ft("idx:hashes")
    assert found(index.search("lamp @colour:{blue}")) == ["item:1"]
    assert found(index.search("@colour:{red | blue} @price:[30 80]")) == ["item:1", "item:2"]
    assert found(index.search("chair")) == ["item:2", "item:3"]
    assert index.search("lamp @colour:{blue}").docs[0].name == "Reading lamp"
    marked = Query("reading").highlight(fields=["name"], tags=["<b>", "</b>"]).return_fields("name")
    assert [doc.name for doc in index.search(marked).docs] == ["<b>Reading</b> lamp"]
    groups = index.aggregate(
        AggregateRequest("*")
        .group_by("@colour", count().alias("items"), total("@price").alias("value"))
        .sort_by(Desc("@value"))
    )
    rows = [dict(zip(row[::2], row[1::2])) for row in groups.rows]
    assert rows == [
        {"colour": "blue", "items": "2", "value": "160.5"},
        {"colour": "red,blue", "items": "1", "value": "35"},
        {"colour": "red", "items": "1", "value": "20"},
    ]


def test_products_like_this_one(connect):
    """The nearest vectors among those of a price."""
    import array

    r = connect()
    vector = {"TYPE": "FLOAT32", "DIM": 2, "DISTANCE_METRIC": "COSINE"}
    r.ft("idx:likes").create_index(
        [NumericField("price"), VectorField("embedding", "HNSW", vector)],
        definition=IndexDefinition(prefix=["like:"], index_type=IndexType.HASH),
    )
    for name, price, values in [("a", 10, [1, 0]), ("b", 20, [1, 0.1]), ("c", 30, [0, 1]), ("d", 99, [1, 0.05])]:
        r.hset(f"like:{name}", mapping={"price": price, "embedding": array.array("f", values).tobytes()})
    query = (
        Query("(@price:[0 50])=>[KNN 2 @embedding $like AS distance]")
        .sort_by("distance")
        .return_fields("distance")
        .dialect(2)
    )
    result = r.ft("idx:likes").search(query, query_params={"like": array.array("f", [1, 0]).tobytes()})
    assert [doc.id for doc in result.docs] == ["like:a", "like:b"]
    assert float(result.docs[0].distance) == pytest.approx(0, abs=1e-6)
