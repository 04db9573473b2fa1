"""Vector sets: what is alike, with redis-py's own commands for it."""

import json
import random
import struct

import pytest
import redis
from redis.commands.vectorset.commands import QuantizationOptions

pytestmark = pytest.mark.usefixtures("vector_sets")


@pytest.fixture
def vector_sets(request):
    if request.config.getoption("--server") == "redis":
        pytest.skip("Redis has vector sets since 8.0")


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def r(request, connect):
    return connect(decode_responses=True, protocol=request.param)


@pytest.fixture
def films(r):
    """Films whose vectors say how much they are of action, of love and of space."""
    for name, vector, attributes in [
        ("alien", [0.6, 0.0, 0.9], {"year": 1979, "director": "Scott", "tags": ["horror", "space"]}),
        ("casablanca", [0.2, 1.0, 0.0], {"year": 1942, "director": "Curtiz"}),
        ("gravity", [0.5, 0.1, 1.0], {"year": 2013, "director": "Cuarón", "tags": ["space"]}),
        ("titanic", [0.4, 0.9, 0.0], {"year": 1997, "director": "Cameron"}),
        ("wall-e", [0.3, 0.6, 0.8], {"year": 2008, "director": "Stanton"}),
    ]:
        assert r.vset().vadd("films", vector, name, attributes=attributes) == 1
    return r.vset()


def test_films_like_another(films):
    assert films.vcard("films") == 5
    assert films.vdim("films") == 3
    assert films.vsim("films", "alien", count=3) == ["alien", "gravity", "wall-e"]
    assert films.vsim("films", [0.0, 1.0, 0.0], count=2) == ["casablanca", "titanic"]
    assert films.vsim("films", struct.pack("<3f", 0.0, 1.0, 0.0), count=1) == ["casablanca"]
    assert films.vsim("films", [0.0, 0.0, 1.0], truth=True, no_thread=True, count=1) == ["gravity"]

    scores = films.vsim("films", "alien", with_scores=True, count=2)
    assert list(scores) == ["alien", "gravity"]
    assert scores["alien"] == pytest.approx(1, abs=0.01) and 0.9 < scores["gravity"] < 1
    assert list(films.vsim("films", "alien", with_scores=True, epsilon=0.1)) == ["alien", "gravity"]


def test_films_by_their_attributes(films):
    assert films.vsim("films", "alien", filter=".year > 1990") == ["gravity", "wall-e", "titanic"]
    assert films.vsim("films", "alien", filter='"space" in .tags and .director != "Scott"') == ["gravity"]
    assert films.vsim("films", "alien", filter=".year < 1900", filter_ef=100) == []
    found = films.vsim("films", "casablanca", with_scores=True, with_attribs=True, count=2)
    assert found["titanic"]["attributes"] == {"year": 1997, "director": "Cameron"}
    assert 0.9 < found["titanic"]["score"] < 1
    assert films.vsim("films", "casablanca", with_attribs=True, count=1)["casablanca"]["year"] == 1942

    assert films.vsetattr("films", "titanic", {"year": 1998}) == 1
    assert films.vgetattr("films", "titanic") == {"year": 1998}
    assert films.vsetattr("films", "titanic", "") == 1
    assert films.vgetattr("films", "titanic") is None
    assert films.vsetattr("films", "nosuch", {"year": 1}) == 0
    with pytest.raises(redis.ResponseError, match="syntax error in FILTER"):
        films.vsim("films", "alien", filter=".year >")


def test_elements_come_and_go(films):
    assert films.vadd("films", [1.0, 0.0, 0.0], "titanic") == 0
    assert films.vgetattr("films", "titanic")["year"] == 1997
    assert films.vrem("films", "alien") == 1
    assert films.vrem("films", "alien") == 0
    assert films.vrange("films", "[c", "(w") == ["casablanca", "gravity", "titanic"]
    assert films.vrange("films", "-", "+", 2) == ["casablanca", "gravity"]
    assert films.vrandmember("films") in {"casablanca", "gravity", "titanic", "wall-e"}
    assert sorted(films.vrandmember("films", 9)) == ["casablanca", "gravity", "titanic", "wall-e"]
    assert len(films.vrandmember("films", -9)) == 9
    for name in ["casablanca", "gravity", "titanic", "wall-e"]:
        films.vrem("films", name)
    assert films.client.exists("films") == 0
    assert films.vinfo("films") is None and films.vrandmember("films") is None


def test_forms_of_vectors(r):
    vector = [0.5, -1.5, 2.5, -3.5]
    vset = r.vset()
    for form, name, exact in [
        (QuantizationOptions.NOQUANT, "f32", 1e-6),
        (QuantizationOptions.Q8, "int8", 0.02),
        (QuantizationOptions.BIN, "bin", 4),
    ]:
        assert vset.vadd(name, vector, "e", quantization=form, numlinks=8, ef=50) == 1
        assert vset.vadd(name, [1.0, 1.0, 1.0, 1.0], "other", quantization=form, numlinks=8, cas=True) == 1
        assert vset.vemb(name, "e") == pytest.approx(vector, abs=exact)
        raw = vset.vemb(name, "e", raw=True)
        assert raw["quantization"] == name and isinstance(raw["raw"], bytes)
        assert raw["l2"] == pytest.approx(21**0.5) and ("range" in raw) == (name == "int8")
        info = vset.vinfo(name)
        assert (info["quant-type"], info["hnsw-m"], info["vector-dim"], info["size"]) == (name, 8, 4, 2)
        assert any("other" in layer for layer in vset.vlinks(name, "e"))
        scores = vset.vlinks(name, "e", with_scores=True)
        assert any(0 <= layer.get("other", -1) <= 1 for layer in scores)
    assert vset.vadd("reduced", vector, "e", reduce_dim=2) == 1
    assert vset.vinfo("reduced")["projection-input-dim"] == 4 and vset.vdim("reduced") == 2


def test_most_of_the_nearest_are_found(r):
    rng = random.Random(7)
    vectors = {f"e{n}": [rng.uniform(-1, 1) for _ in range(24)] for n in range(1000)}
    pipe = r.pipeline(transaction=False)
    for name, vector in vectors.items():
        attributes = json.dumps({"even": int(name[1:]) % 2 == 0})
        pipe.execute_command("VADD", "many", "FP32", struct.pack("<24f", *vector), name, "SETATTR", attributes)
    pipe.execute()
    hits = 0
    for _ in range(30):
        query = [rng.uniform(-1, 1) for _ in range(24)]
        for options in [{}, {"filter": ".even"}]:
            truth = r.vset().vsim("many", query, truth=True, **options)
            hits += len(set(truth) & set(r.vset().vsim("many", query, **options)))
    assert hits >= 0.95 * 600
