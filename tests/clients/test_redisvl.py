"""redisvl, and LangChain's vector store above it: vectors given by hand, no model; before and after a server is lost."""

import numpy
import pytest
import redis
from conftest import FOLLOW_LIMIT_S, poll
from redisvl.exceptions import RedisSearchError
from redisvl.index import SearchIndex
from redisvl.query import CountQuery, FilterQuery, VectorQuery, VectorRangeQuery
from redisvl.query.filter import Geo, GeoRadius, Num, Tag, Text

DIM = 4
ITEMS = [
    # name, kind, price, place, vector
    ("reading lamp", "light,home", 25, "2.35,48.86", [1, 0, 0, 0]),
    ("desk lamp", "light,office", 40, "2.35,48.80", [0.9, 0.1, 0, 0]),
    ("office chair", "seat,office", 120, "13.40,52.52", [0, 1, 0, 0]),
    ("garden chair", "seat,garden", 60, "13.38,52.50", [0, 0.9, 0.1, 0]),
    ("garden hose", "tool,garden", 15, "4.83,45.76", [0, 0, 1, 0]),
]


def blob(vector):
    return numpy.array(vector, dtype=numpy.float32).tobytes()


def schema(storage, algorithm):
    vector = {"dims": DIM, "distance_metric": "cosine", "algorithm": algorithm, "datatype": "float32"}
    return {
        "index": {"name": f"items-{storage}", "prefix": f"item-{storage}", "storage_type": storage},
        "fields": [
            {"name": "name", "type": "text"},
            {"name": "kind", "type": "tag"},
            {"name": "price", "type": "numeric", "attrs": {"sortable": True}},
            {"name": "place", "type": "geo"},
            {"name": "vector", "type": "vector", "attrs": vector},
        ],
    }


@pytest.fixture(params=[("hash", "flat"), ("json", "hnsw")], ids=["hash-flat", "json-hnsw"])
def index(request, servers):
    storage, algorithm = request.param
    client = servers.connect()
    index = SearchIndex.from_dict(schema(storage, algorithm), redis_client=client)
    assert not index.exists()
    index.create()
    index.create(overwrite=True)
    assert index.exists()
    assert f"items-{storage}" in index.listall()
    rows = []
    for name, kind, price, place, vector in ITEMS:
        if storage == "hash":
            row = {"kind": kind, "vector": blob(vector)}
        else:
            row = {"kind": kind, "vector": vector}
        rows.append({"name": name, "price": price, "place": place, **row})
    keys = index.load(rows)
    assert len(keys) == len(ITEMS)
    return index


def names(found):
    return [item["name"] for item in found]


def nearest(index, vector, **options):
    options.setdefault("num_results", 2)
    return index.query(VectorQuery(vector, "vector", return_fields=["name", "price"], **options))


def test_vectors_and_filters(index):
    found = nearest(index, [1, 0.05, 0, 0])
    assert sorted(names(found)) == ["desk lamp", "reading lamp"]
    assert 0 <= float(found[0]["vector_distance"]) <= float(found[1]["vector_distance"]) < 0.01
    dear = nearest(index, [1, 0.01, 0, 0], filter_expression=Num("price") > 50)
    assert sorted(names(dear)) == ["garden chair", "office chair"]
    assert names(nearest(index, [0, 1, 0, 0], filter_expression=Text("name") % "garden")) == ["garden chair", "garden hose"]
    close = (Geo("place") == GeoRadius(2.35, 48.86, 20, "km")) & (Num("price") <= 30)
    assert names(nearest(index, [0, 1, 0, 0], filter_expression=close)) == ["reading lamp"]
    within = VectorRangeQuery([0, 1, 0, 0], "vector", return_fields=["name"], distance_threshold=0.1)
    assert names(index.query(within)) == ["office chair", "garden chair"]
    assert index.query(CountQuery(Text("name") % "lamp | hose")) == 3
    sheds = FilterQuery(return_fields=["name", "price"], filter_expression=Text("name") % "garden*", num_results=10)
    sheds.sort_by("price")
    assert [(item["name"], float(item["price"])) for item in index.query(sheds)] == [
        ("garden hose", 15),
        ("garden chair", 60),
    ]
    pages = list(index.paginate(FilterQuery(return_fields=["name"]), page_size=2))
    assert sorted(name for page in pages for name in names(page)) == sorted(item[0] for item in ITEMS)


def test_tags_of_hashes(servers):
    client = servers.connect()
    index = SearchIndex.from_dict(schema("hash", "hnsw"), redis_client=client)
    index.create()
    rows = [{"name": name, "kind": kind, "vector": blob(vector)} for name, kind, _, _, vector in ITEMS]
    index.load(rows, id_field="name")
    offices = Tag("kind") == ["office", "home"]
    assert sorted(names(index.query(FilterQuery(return_fields=["name"], filter_expression=offices)))) == ["desk lamp", "office chair", "reading lamp"]
    others = (Tag("kind") != "office") & (Tag("kind") != "tool")
    assert sorted(names(index.query(FilterQuery(return_fields=["name"], filter_expression=others)))) == [
        "garden chair",
        "reading lamp",
    ]
    assert index.fetch("desk lamp")["kind"] == "light,office"


def test_an_index_is_read_from_the_server(index):
    again = SearchIndex.from_existing(index.name, redis_client=index.client)
    ours = {field.name: field for field in again.schema.fields.values()}
    assert {name: field.type.lower() for name, field in ours.items()} == {
        "name": "text",
        "kind": "tag",
        "price": "numeric",
        "place": "geo",
        "vector": "vector",
    }
    attributes = ours["vector"].attrs
    assert attributes.dims == DIM
    assert str(attributes.distance_metric.value).lower() == "cosine"
    assert again.schema.index.storage_type == index.schema.index.storage_type
    assert int(again.info()["num_docs"]) == len(ITEMS)


def test_the_next_leader_answers_the_same(servers, index):
    def ask():
        return [(item["name"], round(float(item["vector_distance"]), 6)) for item in nearest(index, [0.3, 0.7, 0, 0])]

    before = ask()
    assert len(before) == 2
    servers.fail()

    def answer():
        try:
            return ask()
        except (redis.RedisError, RedisSearchError):
            return None

    assert poll(answer, FOLLOW_LIMIT_S, "an answer after the failure") == before
    index.delete(drop=True)
    assert not index.exists()
    assert servers.client().dbsize() == 0


class Letters:
    """In the place of a model: how often each of four letters is in a text."""

    def embed_query(self, text):
        return [text.count(letter) + 0.01 for letter in "aeio"]

    def embed_documents(self, texts):
        return [self.embed_query(text) for text in texts]


def test_langchain_finds_texts(servers):
    from langchain_core.embeddings import Embeddings
    from langchain_redis import RedisConfig, RedisVectorStore

    class Model(Letters, Embeddings):
        pass

    config = RedisConfig(
        index_name="texts",
        redis_client=servers.connect(),
        metadata_schema=[{"name": "page", "type": "numeric"}, {"name": "book", "type": "tag"}],
    )
    store = RedisVectorStore(Model(), config=config)
    texts = ["banana", "eerie trees", "aeon", "igloo in it", "onion soup"]
    keys = store.add_texts(texts, [{"page": n, "book": ["fruit", "words"][n % 2]} for n in range(5)])
    assert len(keys) == 5
    assert [doc.page_content for doc in store.similarity_search("ananas", k=1)] == ["banana"]
    close = store.similarity_search_with_score("eel", k=2)
    assert close[0][0].page_content == "eerie trees" and close[0][1] <= close[1][1]
    narrow = store.similarity_search("ananas", k=3, filter=Num("page") >= 3)
    assert {doc.page_content for doc in narrow} == {"igloo in it", "onion soup"}
    assert all(float(doc.metadata["page"]) >= 3 for doc in narrow)
    words = store.similarity_search("ananas", k=5, filter=Tag("book") == "words")
    assert {doc.page_content for doc in words} == {"eerie trees", "igloo in it"}
    store.delete(keys[:1])
    assert "banana" not in [doc.page_content for doc in store.similarity_search("ananas", k=5)]
