"""Completions of what is typed into a search box."""

import pytest
from redis.commands.search.suggestion import Suggestion

pytestmark = pytest.mark.usefixtures("suggestions")


@pytest.fixture
def suggestions(request):
    if request.config.getoption("--server") == "redis":
        pytest.skip("Redis has suggestions since 8.0")


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def r(request, connect):
    return connect(decode_responses=True, protocol=request.param)


def test_a_product_is_found_by_its_first_letters(r):
    assert r.ft("idx:products").sugadd("autocomplete", Suggestion("MacBook Pro", 1.0)) == 1

    suggestions = r.ft("idx:products").sugget("autocomplete", "Mac")
    assert [suggestion.string for suggestion in suggestions] == ["MacBook Pro"]
    assert [s.string for s in r.ft().sugget("autocomplete", "mac")] == ["MacBook Pro"]
    assert r.ft().sugget("autocomplete", "Book") == []


def test_what_is_asked_for_often_comes_first(r):
    products = [("MacBook Air", "p1"), ("MacBook Pro", "p2"), ("Magic Mouse", None)]
    r.ft().sugadd("autocomplete", *[Suggestion(name, 1.0, payload) for name, payload in products])
    for _ in range(3):
        r.ft().sugadd("autocomplete", Suggestion("MacBook Pro", 1.0), increment=True)

    found = r.ft().sugget("autocomplete", "ma", with_scores=True, with_payloads=True)
    assert [(s.string, s.payload) for s in found] == [
        ("MacBook Pro", "p2"),
        ("MacBook Air", "p1"),
        ("Magic Mouse", None),
    ]
    # The score is divided by the root of one more than the letters to come.
    assert [round(s.score * 10**0.5, 5) for s in found] == [4, 1, 1]
    assert len(r.ft().sugget("autocomplete", "ma", num=2)) == 2


def test_a_slip_of_the_finger_is_forgiven(r):
    r.ft().sugadd("autocomplete", Suggestion("keyboard"), Suggestion("monitor"))
    assert r.ft().sugget("autocomplete", "keibo") == []
    assert [s.string for s in r.ft().sugget("autocomplete", "keibo", fuzzy=True)] == ["keyboard"]


def test_what_is_no_longer_sold_is_no_longer_suggested(r):
    r.ft().sugadd("autocomplete", Suggestion("keyboard"), Suggestion("monitor"))
    assert r.ft().suglen("autocomplete") == 2
    assert r.ft().sugdel("autocomplete", "monitor") == 1
    assert r.ft().sugdel("autocomplete", "monitor") == 0
    assert r.ft().sugget("autocomplete", "mon") == []
    assert r.ft().sugdel("autocomplete", "keyboard") == 1
    assert r.exists("autocomplete") == 0
