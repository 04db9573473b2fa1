"""Documents, search, suggestions and vector sets with node-redis and redis-py, before and after a server is lost."""

import array
import json

import pytest
import redis
from conftest import FOLLOW_LIMIT_S, HERE, node_modules, poll
from redis.commands.search.aggregation import AggregateRequest
from redis.commands.search.field import GeoField, NumericField, TagField, TextField, VectorField
from redis.commands.search.index_definition import IndexDefinition, IndexType
from redis.commands.search.query import Query
from redis.commands.search.reducers import count
from redis.commands.search.suggestion import Suggestion


class Node:
    """modules.cjs at work."""

    def __init__(self, programs, protocol, ports):
        command = ["node", HERE / "modules.cjs", protocol, *ports]
        self.program = programs.start("modules", command, {"NODE_PATH": node_modules()})

    def ask(self, group, method, *arguments):
        self.program.say(json.dumps([group, method, *arguments]))
        return json.loads(self.program.hear(FOLLOW_LIMIT_S))

    def __call__(self, group, method, *arguments):
        answer = self.ask(group, method, *arguments)
        assert "error" not in answer, answer["error"]
        return answer["reply"]


PRODUCTS = [
    # name, colours, price, place, vector
    ("reading lamp", ["red"], 25, "2.35,48.86", [1, 0]),
    ("desk lamp", ["red", "blue"], 40, "2.40,48.80", [0.8, 0.2]),
    ("garden chair", ["green"], 60, "13.40,52.52", [0, 1]),
]


@pytest.mark.parametrize("protocol", [2, 3])
def test_node_redis_with_documents(servers, programs, protocol):
    node = Node(programs, protocol, servers.ports)
    schema = {
        "$.name": {"type": "TEXT", "AS": "name"},
        "$.colours[*]": {"type": "TAG", "AS": "colour"},
        "$.price": {"type": "NUMERIC", "AS": "price", "SORTABLE": True},
        "$.place": {"type": "GEO", "AS": "place"},
        "$.vector": {
            "type": "VECTOR", "AS": "vector", "ALGORITHM": "FLAT", "TYPE": "FLOAT32", "DIM": 2, "DISTANCE_METRIC": "L2",
        },
    }  # fmt: skip
    assert node("ft", "create", "idx", schema, {"ON": "JSON", "PREFIX": "product:"}) == "OK"
    assert node("ft", "_list") == ["idx"]
    for n, (name, colours, price, place, vector) in enumerate(PRODUCTS):
        product = {"name": name, "colours": colours, "price": price, "place": place, "vector": vector}
        assert node("json", "set", f"product:{n}", "$", product) == "OK"
    assert node("json", "get", "product:1", {"path": "$.colours"}) == [["red", "blue"]]
    assert node("json", "numIncrBy", "product:1", "$.price", 1) == [41]
    assert node("json", "arrAppend", "product:2", "$.colours", "white") == [2]
    assert node("json", "type", "product:2", {"path": "$.price"}) in (["integer"], [["integer"]])
    assert node("json", "objKeys", "product:2", {"path": "$"})[0][0] == "name"
    assert node("json", "mGet", ["product:0", "none"], "$.price") == [[25], None]
    assert node("json", "del", "product:2", {"path": "$.colours[0]"}) == 1

    def ids(query, **options):
        return [doc["id"] for doc in node("ft", "search", "idx", query, options)["documents"]]

    found = node("ft", "search", "idx", "lamps @price:[30 50]")
    assert found["total"] == 1
    assert found["documents"][0]["id"] == "product:1"
    assert found["documents"][0]["value"]["name"] == "desk lamp"
    assert ids("@colour:{white | blue}", SORTBY="price") == ["product:1", "product:2"]
    assert ids("@place:[2.35 48.86 20 km]", SORTBY={"BY": "price", "DIRECTION": "DESC"}) == ["product:1", "product:0"]
    assert ids("*", LIMIT={"from": 1, "size": 1}, SORTBY="price") == ["product:1"]
    near = {"PARAMS": {"v": {"floats": [0.9, 0.1]}}, "SORTBY": "d", "RETURN": ["d", "name"]}
    assert ids("*=>[KNN 2 @vector $v AS d]", **near) in (["product:0", "product:1"], ["product:1", "product:0"])
    assert node("ft", "searchNoContent", "idx", "chair")["documents"] == ["product:2"]
    steps = {"STEPS": [{"type": "GROUPBY", "properties": "@name", "REDUCE": [{"type": "COUNT", "AS": "n"}]}]}
    groups = node("ft", "aggregate", "idx", "*", steps)
    assert sorted(row["name"] for row in groups["results"]) == ["desk lamp", "garden chair", "reading lamp"]
    rows = node("ft", "aggregateWithCursor", "idx", "*", {"COUNT": 2, "LOAD": "@name"})
    assert len(rows["results"]) == 2
    assert len(node("ft", "cursorRead", "idx", rows["cursor"])["results"]) == 1
    info = node("ft", "info", "idx")
    assert (info["index_name"], int(info["num_docs"])) == ("idx", 3)
    assert [attribute["attribute"] for attribute in info["attributes"]] == ["name", "colour", "price", "place", "vector"]
    assert node("ft", "tagVals", "idx", "colour") == ["blue", "red", "white"]
    assert node("ft", "aliasAdd", "shop", "idx") == "OK"
    assert node("ft", "alter", "idx", {"$.stock": {"type": "NUMERIC", "AS": "stock"}}) == "OK"
    assert node("ft", "synUpdate", "idx", "g1", ["lamp", "light"]) == "OK"
    assert node("ft", "dictAdd", "words", ["lamp", "chair"]) == 2
    assert sorted(node("ft", "dictDump", "words")) == ["chair", "lamp"]
    assert node("ft", "explain", "idx", "@price:[1 2]").startswith("NUMERIC")
    assert node("ft", "spellCheck", "idx", "chiar")[0]["term"] == "chiar"
    assert "error" in node.ask("ft", "search", "none", "lamp")
    assert "Syntax error" in node.ask("ft", "search", "idx", "(lamp")["error"]

    before = node("ft", "search", "shop", "lamp", {"SORTBY": "price"})
    servers.fail()

    def answer():
        return node.ask("ft", "search", "shop", "lamp", {"SORTBY": "price"}).get("reply")

    assert poll(answer, FOLLOW_LIMIT_S, "an answer after the failure") == before
    assert node("ft", "dropIndex", "idx", {"DD": True}) == "OK"
    assert servers.client().dbsize() == 0


@pytest.mark.parametrize("protocol", [2, 3])
def test_node_redis_with_suggestions_and_vector_sets(one_node, programs, protocol):
    node = Node(programs, protocol, one_node.ports)
    assert node("ft", "sugAdd", "sug", "MacBook Pro", 2) == 1
    assert node("ft", "sugAdd", "sug", "Magic Mouse", 1) == 2
    assert node("ft", "sugGet", "sug", "ma") == ["MacBook Pro", "Magic Mouse"]
    assert [s["suggestion"] for s in node("ft", "sugGetWithScores", "sug", "mac")] == ["MacBook Pro"]
    assert node("ft", "sugLen", "sug") == 2
    assert node("ft", "sugDel", "sug", "Magic Mouse") in (1, True)
    assert node("", "vAdd", "set", [1, 0], "east") in (1, True)
    assert node("", "vAdd", "set", [0, 1], "north", {"SETATTR": {"n": 1}}) in (1, True)
    assert node("", "vSim", "set", [1, 0.1], {"COUNT": 1}) == ["east"]
    scores = node("", "vSimWithScores", "set", "north")
    assert max(scores, key=scores.get) == "north"
    assert node("", "vCard", "set") == 2
    assert node("", "vDim", "set") == 2
    assert node("", "vGetAttr", "set", "north") == {"n": 1}
    assert node("", "vInfo", "set")["vector-dim"] == 2
    assert node("", "vRem", "set", "east") in (1, True)


def eventually(ask):
    """An answer, as soon as there is one: what lost its connection asks again."""

    def answer():
        try:
            return [ask()]
        except redis.RedisError:
            return None

    return poll(answer, FOLLOW_LIMIT_S, "an answer after the failure")[0]


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_with_hashes(servers, protocol):
    client = servers.connect(decode_responses=True, protocol=protocol, legacy_responses=False)
    index = client.ft("idx")
    vector = {"TYPE": "FLOAT32", "DIM": 2, "DISTANCE_METRIC": "L2"}
    index.create_index(
        [
            TextField("name", weight=2),
            TagField("colour", separator=";"),
            NumericField("price", sortable=True),
            GeoField("place"),
            VectorField("vector", "HNSW", vector),
        ],
        definition=IndexDefinition(prefix=["product:"], index_type=IndexType.HASH),
        stopwords=["the"],
    )
    for n, (name, colours, price, place, floats) in enumerate(PRODUCTS):
        fields = {"name": name, "colour": ";".join(colours), "price": price, "place": place}
        client.hset(f"product:{n}", mapping={**fields, "vector": array.array("f", floats).tobytes()})

    def ids(query, **params):
        return [doc.id for doc in index.search(query, params or None).docs]

    assert ids(Query("lamps").sort_by("price")) == ["product:0", "product:1"]
    assert ids(Query("@colour:{blue}")) == ["product:1"]
    result = index.search(Query("lamp").with_scores().sort_by("price", asc=False).return_fields("name"))
    assert [(doc.id, doc.name) for doc in result.docs] == [("product:1", "desk lamp"), ("product:0", "reading lamp")]
    assert all(doc.score > 0 for doc in index.search(Query("lamp").with_scores()).docs)
    near = Query("*=>[KNN 2 @vector $v AS d]").sort_by("d").return_fields("d").dialect(2)
    assert ids(near, v=array.array("f", [0.9, 0]).tobytes()) == ["product:0", "product:1"]
    groups = index.aggregate(AggregateRequest("*").group_by("@colour", count().alias("n")).cursor(count=2))
    more = index.aggregate(groups.cursor)
    assert len(groups.rows) + len(more.rows) == 3
    info = index.info()
    assert (info["index_name"], int(info["num_docs"])) == ("idx", 3)
    assert set(index.tagvals("colour")) == {"red", "blue", "green"}
    assert index.spellcheck("chir")["chir"][0]["suggestion"] == "chair"
    index.synupdate("g1", False, "seat", "chair")
    # What is written after the group was made is found by all of its words.
    client.hset("product:2", "name", "garden chair")
    assert ids(Query("seat")) == ["product:2"]
    assert "NUMERIC" in index.explain("@price:[1 2]")
    index.aliasadd("shop")
    index.alter_schema_add([NumericField("stock")])
    client.hset("product:2", "stock", 3)
    assert ids(Query("@stock:[1 5]")) == ["product:2"]
    profile = index.profile(Query("lamp").no_content())
    assert profile[0].total == 2
    before = ids(Query("lamp|chair").sort_by("price"))
    servers.fail()
    assert eventually(lambda: ids(Query("lamp|chair").sort_by("price"))) == before
    assert client.ft("shop").search("chair").total == 1
    index.dropindex()
    assert client.exists("product:0") == 1


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_with_vector_sets_and_suggestions(servers, protocol):
    client = servers.connect(decode_responses=True, protocol=protocol)
    vectors = client.vset()
    for name, floats in [("east", [1, 0]), ("north", [0, 1]), ("northeast", [1, 1])]:
        assert vectors.vadd("set", floats, name) == 1
    vectors.vadd("set", array.array("f", [-1, 0]).tobytes(), "west", attributes={"far": 1})
    assert vectors.vsim("set", [1, 0.1], count=2) == ["east", "northeast"]
    scores = vectors.vsim("set", "east", with_scores=True)
    assert scores["east"] == pytest.approx(1, abs=1e-3)
    assert vectors.vsim("set", "east", filter=".far == 1") == ["west"]
    assert (vectors.vcard("set"), vectors.vdim("set")) == (4, 2)
    assert vectors.vgetattr("set", "west") == {"far": 1}
    assert vectors.vemb("set", "north") == pytest.approx([0, 1], abs=0.02)
    assert vectors.vinfo("set")["vector-dim"] == 2
    assert set(vectors.vrandmember("set", 10)) == {"east", "north", "northeast", "west"}
    assert vectors.vrem("set", "north") == 1
    client.ft().sugadd("sug", Suggestion("reading lamp", 2), Suggestion("red lamp"))
    assert [s.string for s in client.ft().sugget("sug", "re")] == ["reading lamp", "red lamp"]
    before = vectors.vsim("set", [1, 0.1], with_scores=True)
    servers.fail()
    assert eventually(lambda: vectors.vsim("set", [1, 0.1], with_scores=True)) == before
    assert client.ft().suglen("sug") == 2
    assert vectors.vadd("set", [0, 1], "north") == 1
