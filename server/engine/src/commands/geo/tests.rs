use cairn_proto::Resp;

use super::hash::{Cell, Extent, Point, Shape, distance};
use crate::client::Slot;
use crate::config::{Config, NotifyFlags};
use crate::digest;
use crate::rng::Rng;
use crate::testing::TestEngine;

fn sicily() -> (TestEngine, Slot) {
    let notify_keyspace_events = NotifyFlags::ALL.union(NotifyFlags::KEYEVENT);
    let mut server = TestEngine::with_config(Config { notify_keyspace_events, ..Config::default() }, 1);
    let client = server.connect(Resp::V2);
    server.run(client, "GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania");
    (server, client)
}

#[track_caller]
fn assert_replica_agrees(server: &TestEngine) {
    let replica = server.replica();
    assert_eq!(digest::keyspace(replica.engine.keys.dbs()), digest::keyspace(server.engine.keys.dbs()));
}

#[test]
fn places_are_written_down_as_scores() {
    let (mut server, a) = sicily();
    let score = Cell::of(Point { longitude: 1.0, latitude: 2.0 }).score();
    assert_eq!(
        server.effects_of(a, "GEOADD g NX CH 13.361389 38.115556 copy 1 2 Palermo"),
        [format!("ZADD g NX 3479099956230698 copy {score} Palermo")]
    );
    assert_eq!(server.effects_of(a, "GEOADD g XX 1 2 Palermo"), [format!("ZADD g XX {score} Palermo")]);
    assert!(server.effects_of(a, "GEOADD g XX 1 1 new").is_empty());
    assert_replica_agrees(&server);
}

#[test]
fn searches_are_written_down_as_their_results() {
    let (mut server, a) = sicily();
    server.run(a, "SET dst x");
    assert_eq!(
        server.effects_of(a, "GEOSEARCHSTORE dst g FROMLONLAT 15 37 BYRADIUS 200 km ASC"),
        ["DEL dst", "ZADD dst 3479099956230698 Palermo 3479447370796909 Catania"]
    );
    assert_eq!(
        server.effects_of(a, "GEORADIUS g 15 37 100 km STOREDIST near"),
        ["ZADD near 56.4412578701582 Catania"]
    );
    assert_eq!(
        server.effects_of(a, "GEORADIUSBYMEMBER g Palermo 1 m STORE dst COUNT 1"),
        ["DEL dst", "ZADD dst 3479099956230698 Palermo"]
    );
    assert_eq!(server.effects_of(a, "GEORADIUS g 0 0 1 m STORE dst"), ["DEL dst"]);
    assert!(server.effects_of(a, "GEORADIUS g 0 0 1 m STORE dst").is_empty());
    assert_replica_agrees(&server);
}

#[test]
fn stores_tell_of_themselves() {
    let (mut server, a) = sicily();
    for (line, events) in [
        ("GEOADD g 1 1 x", &["zadd g"][..]),
        ("GEOSEARCHSTORE dst g FROMLONLAT 15 37 BYRADIUS 200 km", &["geosearchstore dst"]),
        ("GEORADIUS g 15 37 200 km STORE dst", &["georadiusstore dst"]),
        ("GEORADIUS missing 15 37 200 km STORE dst", &["del dst"]),
        ("GEORADIUS g 15 37 200 km", &[]),
    ] {
        assert_eq!(server.events_of(a, line), events, "{line}");
    }
}

/// The cells that are searched must hold everything: compares with a look at every place.
#[test]
fn a_search_finds_exactly_what_is_near_enough() {
    let rng = Rng::new(42);
    let between = |low: f64, high: f64| low + rng.unit() * (high - low);
    let place = |spread: f64| {
        let point = Point { longitude: between(-180.0, 180.0), latitude: between(-spread, spread) };
        Cell::of(point)
    };
    let cells: Vec<Cell> = (0..2000).map(|_| place(75.0)).collect();
    let mut found = 0;
    for _ in 0..300 {
        let centre = place(60.0).centre();
        // Farther than this, circles reach around the world or over the poles, where Redis misses places, too.
        let radius = 10f64.powf(between(3.0, 6.0));
        let shape = Shape { centre, extent: Extent::Radius(radius), metres_per_unit: 1.0 };
        let ranges: Vec<(u64, u64)> = shape.cells().map(Cell::scores).collect();
        for cell in &cells {
            let in_cells = ranges.iter().filter(|(min, max)| (*min..*max).contains(&cell.score())).count();
            assert!(in_cells <= 1, "a place would be found twice");
            let crosses_the_date_line = (centre.longitude - cell.centre().longitude).abs() > 180.0;
            if distance(centre, cell.centre()) <= radius && !crosses_the_date_line {
                assert_eq!(in_cells, 1, "{centre:?} {radius} {:?}", cell.centre());
                found += 1;
            }
        }
    }
    assert!(found > 200, "{found}");
}
