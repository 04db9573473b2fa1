"""Places: what is near, and how far."""

import pytest


def test_stores_nearby(connect):
    redis_client = connect(db=0)

    def add_location(store_name, longitude, latitude):
        return redis_client.geoadd("stores", (longitude, latitude, store_name))

    def get_distance(store1, store2, unit="km"):
        return redis_client.geodist("stores", store1, store2, unit=unit)

    def find_nearby_stores(longitude, latitude, radius, unit="km"):
        return redis_client.georadius("stores", longitude, latitude, radius, unit=unit)

    assert add_location("Palermo", 13.361389, 38.115556) == 1
    assert add_location("Catania", 15.087269, 37.502669) == 1
    assert add_location("Berlin", 13.404954, 52.520008) == 1
    assert get_distance("Palermo", "Catania") == pytest.approx(166.2742)
    assert get_distance("Palermo", "Catania", "mi") == pytest.approx(103.3182)
    assert get_distance("Palermo", "Nowhere") is None
    assert sorted(find_nearby_stores(15, 37, 200)) == [b"Catania", b"Palermo"]
    assert find_nearby_stores(15, 37, 100) == [b"Catania"]
    assert find_nearby_stores(0, 0, 10) == []


def test_search_by_radius_box_and_member(connect):
    r = connect(decode_responses=True)
    r.geoadd("drivers", [13.361389, 38.115556, "d1", 15.087269, 37.502669, "d2"])
    nearest = r.geosearch("drivers", longitude=15, latitude=37, radius=200, unit="km", sort="ASC")
    assert nearest == ["d2", "d1"]
    found = r.geosearch("drivers", longitude=15, latitude=37, radius=200, unit="km", withdist=True, sort="DESC")
    assert [(name, float(distance)) for name, distance in found] == [("d1", 190.4424), ("d2", 56.4413)]
    assert r.geosearch("drivers", member="d1", width=100, height=100, unit="km") == ["d1"]
    (longitude, latitude), missing = r.geopos("drivers", "d1", "nobody")
    assert (longitude, latitude) == (pytest.approx(13.361389, abs=1e-5), pytest.approx(38.115556, abs=1e-5))
    assert missing is None
