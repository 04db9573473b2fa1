//! Each kind of change reaches the indexes.

use cairn_proto::Resp;
use cairn_search::eval::SearchOptions;
use cairn_search::query::{ParseOptions, Query};

use crate::client::Slot;
use crate::search::Progress;
use crate::testing::TestEngine;

/// An engine with an index `i` over hashes `p:…` with a text, a number and tags.
fn indexed() -> (TestEngine, Slot) {
    let mut server = TestEngine::new();
    let client = server.connect(Resp::V2);
    let made = server.run(client, "FT.CREATE i PREFIX 1 p: SCHEMA name TEXT price NUMERIC tags TAG");
    assert_eq!(made, "+OK\r\n");
    (server, client)
}

/// Goes on with building until there is nothing left to do.
fn build(server: &mut TestEngine) {
    const SLICES_MAX: usize = 10_000;
    for _ in 0..SLICES_MAX {
        if !server.engine.build_indexes(&server.host, 100) {
            return;
        }
    }
    panic!("an index is never complete");
}

/// The keys that a query finds, in their order.
fn found(server: &TestEngine, index: &str, query: &str) -> Vec<String> {
    let entry = server.engine.shared.search.find(index.as_bytes()).expect("the index is there");
    let options = ParseOptions { dialect: 2, ..ParseOptions::default() };
    let query = Query::parse(query.as_bytes(), &entry.index, &options).expect("a query");
    let found =
        entry.index.search(&query, &SearchOptions { limit: 1000, ..SearchOptions::default() }, &mut || true);
    let key = |doc| String::from_utf8_lossy(entry.index.key_of(doc).expect("it was found")).into_owned();
    let mut keys: Vec<String> = found.hits.iter().map(|hit| key(hit.doc)).collect();
    keys.sort();
    keys
}

#[test]
fn hashes_are_found_as_soon_as_they_are_written_and_not_when_they_are_gone() {
    let (mut server, a) = indexed();
    server.run(a, "HSET p:1 name lamp price 20 tags a,b");
    server.run(a, "HSET p:2 name lamps price 30");
    server.run(a, "HSET other name lamp");
    server.run(a, "SET p:3 lamp");
    assert_eq!(found(&server, "i", "lamp"), ["p:1", "p:2"]);
    assert_eq!(found(&server, "i", "@price:[25 inf]"), ["p:2"]);
    server.run(a, "HINCRBY p:1 price 10");
    assert_eq!(found(&server, "i", "@price:[30 30]"), ["p:1", "p:2"]);
    server.run(a, "HDEL p:1 name");
    assert_eq!(found(&server, "i", "lamp"), ["p:2"]);
    assert_eq!(found(&server, "i", "@tags:{a}"), ["p:1"]);
    server.run(a, "SET p:1 text");
    assert_eq!(found(&server, "i", "*"), ["p:2"]);
    server.run(a, "DEL p:2");
    assert_eq!(found(&server, "i", "*"), [""; 0]);
}

#[test]
fn keys_that_are_older_than_an_index_come_into_it_by_and_by() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    for n in 0..500 {
        server.run(a, &format!("HSET p:{n} name lamp price {n}"));
    }
    server.run(a, "FT.CREATE i PREFIX 1 p: SCHEMA name TEXT price NUMERIC");
    assert_eq!(found(&server, "i", "lamp").len(), 0);
    assert!(server.engine.build_indexes(&server.host, 100));
    let some = found(&server, "i", "lamp").len();
    assert!((1..500).contains(&some), "{some}");
    server.run(a, "HSET p:3 name table price 3");
    build(&mut server);
    assert_eq!(found(&server, "i", "lamp").len(), 499);
    assert_eq!(found(&server, "i", "table"), ["p:3"]);
    let entry = server.engine.shared.search.find(b"i").expect("it is there");
    assert_eq!(entry.progress, Progress::Complete);
}
