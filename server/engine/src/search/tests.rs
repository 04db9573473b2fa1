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

#[test]
fn no_document_is_begun_for_which_there_is_no_time_left() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    (0..50).for_each(|n| drop(server.run(a, &format!("HSET p:{n} name lamp"))));
    server.run(a, "FT.CREATE i PREFIX 1 p: SCHEMA name TEXT");
    // With three looks at the clock for each, a document takes 1,200 microseconds.
    server.host.leap_us = 399;
    for indexed in 1..=9 {
        let before_us = server.host.monotonic_us.get();
        assert!(server.engine.build_indexes(&server.host, 2000));
        let took_us = server.host.monotonic_us.get() - before_us;
        assert!(took_us <= 2000, "{took_us}");
        assert!(found(&server, "i", "lamp").len() >= indexed);
    }
}

#[test]
fn every_way_for_a_key_to_come_and_go_reaches_the_index() {
    let (mut server, a) = indexed();
    server.run(a, "HSET src name lamp");
    for (line, keys) in [
        ("RENAME src p:1", &["p:1"][..]),
        ("COPY p:1 p:2", &["p:1", "p:2"]),
        ("RENAME p:2 src", &["p:1"]),
        ("RENAMENX p:1 p:3", &["p:3"]),
        ("MOVE p:3 1", &[]),
        ("COPY src p:3", &["p:3"]),
        ("SWAPDB 0 1", &["p:3"]),
        ("SWAPDB 0 1", &["p:3"]),
        ("SWAPDB 2 3", &["p:3"]),
        ("HSET p:4 name lamp", &["p:3", "p:4"]),
        ("EVAL redis.call('HSET','p:5','name','lamp');redis.call('DEL','p:4') 0", &["p:3", "p:5"]),
        ("DEL p:3", &["p:5"]),
        ("FLUSHDB", &[]),
    ] {
        let words: Vec<&str> = match line.strip_prefix("EVAL ") {
            Some(rest) => {
                let (script, keys) = rest.rsplit_once(' ').expect("a script and no keys");
                vec!["EVAL", script, keys]
            }
            None => line.split(' ').collect(),
        };
        server.send(a, &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
        server.output(a);
        build(&mut server);
        if line == "FLUSHDB" {
            assert!(server.engine.shared.search.find(b"i").is_none(), "indexes go with the keys");
        } else {
            assert_eq!(found(&server, "i", "lamp"), keys, "{line}");
        }
    }
}

#[test]
fn what_is_restored_expires_or_is_evicted_reaches_the_index() {
    let (mut server, a) = indexed();
    server.run(a, "HSET src name lamp");
    let dumped = server.send(a, &[b"DUMP", b"src"]);
    let payload = dumped.split(|&byte| byte == b'\n').skip(1).collect::<Vec<_>>().join(&b'\n');
    let payload = &payload[..payload.len() - 2];
    server.send(a, &[b"RESTORE", b"p:1", b"0", payload]);
    assert_eq!(found(&server, "i", "lamp"), ["p:1"]);
    server.run(a, "PEXPIRE p:1 10");
    server.run(a, "HSET p:2 name lamp price 3");
    server.run(a, "HPEXPIRE p:2 10 FIELDS 1 name");
    server.advance(10);
    assert_eq!(found(&server, "i", "lamp"), [""; 0]);
    assert_eq!(found(&server, "i", "@price:[3 3]"), ["p:2"]);
    server.run(a, "DEL src");
    server.run(a, "CONFIG SET maxmemory-policy allkeys-random");
    server.run(a, "CONFIG SET maxmemory 1000");
    server.host.used_memory = 2000;
    server.advance(1);
    assert_eq!(found(&server, "i", "*"), [""; 0]);
}

#[test]
fn documents_are_found_by_what_is_at_their_paths() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    let made = server.run(
        a,
        "FT.CREATE j ON JSON PREFIX 1 d: SCHEMA name TEXT $.tags[*] AS tag TAG $.price AS price NUMERIC $.at AS at GEO \
         $.v AS v VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2 $.in AS in TAG",
    );
    assert_eq!(made, "+OK\r\n");
    server.run(
        a,
        r#"JSON.SET d:1 $ {"name":"lamp","tags":["a","b,c"],"price":[1,null,20],"at":"1,2","v":[1,2],"in":true}"#,
    );
    server.run(a, r#"JSON.SET d:2 $ {"name":["lamp","table"],"tags":null,"price":3,"v":[[1,2],[3,4]]}"#);
    for (query, keys) in [
        ("lamp", &["d:1", "d:2"][..]),
        ("table", &["d:2"]),
        ("@tag:{a}", &["d:1"]),
        (r"@tag:{b\,c}", &["d:1"]),
        ("@price:[20 20]", &["d:1"]),
        ("@price:[3 3]", &["d:2"]),
        ("@at:[1 2 10 km]", &["d:1"]),
        ("@in:{true}", &["d:1"]),
    ] {
        assert_eq!(found(&server, "j", query), keys, "{query}");
    }
    server.run(a, r#"JSON.SET d:1 $.name "chair""#);
    assert_eq!(found(&server, "j", "chair"), ["d:1"]);
    server.run(a, "JSON.NUMINCRBY d:2 $.price 10");
    assert_eq!(found(&server, "j", "@price:[13 13]"), ["d:2"]);
    server.run(a, "JSON.DEL d:1");
    assert_eq!(found(&server, "j", "*"), ["d:2"]);
}

#[test]
fn what_does_not_fit_its_field_is_not_indexed_and_counted() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    server.run(a, "FT.CREATE h PREFIX 1 h: SCHEMA n NUMERIC g GEO v VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2");
    server.run(a, "FT.CREATE j ON JSON PREFIX 1 j: SCHEMA n NUMERIC t TEXT v VECTOR FLAT 6 TYPE FLOAT64 DIM 2 DISTANCE_METRIC L2");
    for (index, line, field, why) in [
        ("h", "HSET h:1 n x", 0, "Invalid numeric value: 'x'"),
        ("h", "HSET h:1 n 1 g north", 1, "Invalid geo string"),
        ("h", "HSET h:1 g 1,2 v abc", 2, "Could not add vector with blob size 3 (expected size 8)"),
        (
            "j",
            r#"JSON.SET j:1 $ {"n":"1"}"#,
            0,
            "Invalid JSON type: String type can represent only TEXT, TAG, GEO or GEOMETRY field",
        ),
        ("j", r#"JSON.SET j:1 $ {"n":[1,"x"]}"#, 0, "NUMERIC fields can only contain numeric or nulls"),
        (
            "j",
            r#"JSON.SET j:1 $ {"t":1}"#,
            1,
            "Invalid JSON type: Numeric type can represent only NUMERIC field",
        ),
        ("j", r#"JSON.SET j:1 $ {"t":[1]}"#, 1, "TEXT/TAG fields can only contain strings or nulls"),
        (
            "j",
            r#"JSON.SET j:1 $ {"t":{}}"#,
            1,
            "Invalid JSON type: Object type can represent only GEOMETRY fields",
        ),
        ("j", r#"JSON.SET j:1 $ {"v":[1]}"#, 2, "Invalid vector length. Expected 2, got 1"),
        ("j", r#"JSON.SET j:1 $ {"v":[1,"x"]}"#, 2, "Invalid vector element at index 1"),
        ("j", r#"JSON.SET j:1 $ {"v":[]}"#, 2, "Empty array for vector field on JSON document"),
    ] {
        let before =
            server.engine.shared.search.find(index.as_bytes()).expect("an index").field_failures[field].count;
        server.run(a, line);
        let entry = server.engine.shared.search.find(index.as_bytes()).expect("an index");
        let failures = &entry.field_failures[field];
        assert_eq!(failures.count, before + 1, "{line}");
        let (last, key) = failures.last.as_ref().expect("one has failed");
        assert_eq!((last.as_str(), &key[..]), (why, format!("{index}:1").as_bytes()), "{line}");
        assert_eq!(entry.index.len(), 0, "{line}");
    }
    server.run(a, "DEL h:1");
    server.run(a, "HSET h:1 n 1");
    assert_eq!(found(&server, "h", "*"), ["h:1"]);
    server.run(a, "HSET h:1 n x");
    assert_eq!(found(&server, "h", "*"), [""; 0]);
}

#[test]
fn a_filter_decides_which_keys_are_indexed() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    server.run(a, "FT.CREATE i PREFIX 1 p: FILTER @price>10&&@kind=='x' SCHEMA price NUMERIC");
    server.run(a, "HSET p:1 price 20 kind x");
    server.run(a, "HSET p:2 price 20 kind y");
    server.run(a, "HSET p:3 price 5 kind x");
    server.run(a, "HSET p:4 kind x");
    assert_eq!(found(&server, "i", "*"), ["p:1"]);
    server.run(a, "HSET p:3 price 11");
    server.run(a, "HSET p:1 kind y");
    assert_eq!(found(&server, "i", "*"), ["p:3"]);
}

#[test]
fn new_fields_and_synonyms_reach_the_documents_that_are_there() {
    let (mut server, a) = indexed();
    server.run(a, "HSET p:1 name lamp brand acme");
    server.run(a, "FT.ALTER i SCHEMA ADD brand TAG");
    assert_eq!(found(&server, "i", "@brand:{acme}"), [""; 0]);
    build(&mut server);
    assert_eq!(found(&server, "i", "@brand:{acme}"), ["p:1"]);
    server.run(a, "FT.SYNUPDATE i light lamp bulb");
    build(&mut server);
    assert_eq!(found(&server, "i", "bulb"), ["p:1"]);
    server.run(a, "FT.ALTER i SKIPINITIALSCAN SCHEMA ADD size NUMERIC");
    assert!(!server.engine.build_indexes(&server.host, 100));
}

#[test]
fn a_follower_has_the_same_definitions_and_finds_the_same() {
    let (mut server, a) = indexed();
    for line in [
        "FT.CREATE all ON JSON PREFIX 2 a: b: LANGUAGE german LANGUAGE_FIELD l SCORE 0.5 SCORE_FIELD s STOPWORDS 2 und Oder \
         NOOFFSETS NOHL NOFREQS MAXTEXTFIELDS SCHEMA $.a AS a TEXT WEIGHT 2.5 NOSTEM SORTABLE $.b AS b TAG SEPARATOR ; \
         CASESENSITIVE WITHSUFFIXTRIE c NUMERIC SORTABLE NOINDEX d GEO INDEXMISSING e VECTOR HNSW 10 TYPE FLOAT64 DIM 3 \
         DISTANCE_METRIC COSINE M 4 EF_RUNTIME 7 f TEXT INDEXEMPTY INDEXMISSING",
        "FT.CREATE tmp TEMPORARY 100 FILTER @a=='b' PAYLOAD_FIELD p SKIPINITIALSCAN INDEXALL ENABLE SCHEMA a TAG SORTABLE UNF",
        "FT.ALIASADD other i",
        "FT.ALIASUPDATE other all",
        "FT.ALIASADD second i",
        "FT.ALIASDEL second",
        "FT.SYNUPDATE i g one Two",
        "FT.DICTADD d x y",
        "FT.DICTDEL d x",
        "FT.ALTER i SCHEMA ADD size NUMERIC brand TAG CASESENSITIVE SORTABLE",
        "HSET p:1 name lamp size 7",
    ] {
        let reply = server.run(a, line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
    let text = server.engine.shared.search.to_text();
    let follower = server.replica();
    assert_eq!(follower.engine.shared.search.to_text(), text);
    assert_eq!(found(&follower, "i", "@size:[7 7]"), ["p:1"]);
    let mut fresh = server.engine.empty_copy();
    fresh.restore_indexes(text.as_deref()).expect("text of our own");
    assert_eq!(fresh.shared.search.to_text(), text);
    let digest = |server: &TestEngine| {
        let indexes = server.engine.shared.search.to_text();
        crate::digest::state(server.engine.keys.dbs(), &[], None, indexes.as_deref())
    };
    assert_eq!(digest(&server), digest(&follower));
    let before = digest(&server);
    server.run(a, "FT.DICTADD d z");
    assert_ne!(digest(&server), before);
}

#[test]
fn definitions_that_cannot_be_read_are_refused() {
    let mut server = TestEngine::new();
    for text in ["2", "1\n\"FT.CREATE\" \"i\"", "1\n\"DEL\" \"k\"", "1\nFT.CREATE", "1\n\"\\xzz\"", ""] {
        assert!(server.engine.restore_indexes(Some(text)).is_err(), "{text:?}");
    }
}

#[test]
fn a_snapshot_brings_definitions_and_contents_are_built() {
    let (mut server, a) = indexed();
    server.run(a, "HSET p:1 name lamp");
    let mut bytes = Vec::new();
    let aux = crate::rdb::Aux::default();
    crate::rdb::save(server.engine.snapshot(), &aux, true, &mut bytes).expect("memory takes it");
    let mut fresh = TestEngine::new();
    let options = crate::rdb::LoadOptions {
        databases: fresh.engine.keys.dbs().len(),
        seed: fresh.engine.keys.seed(),
        config: &server.engine.shared.config,
    };
    let loaded = crate::rdb::load(&bytes, &options, &mut |_, _| {}).expect("a file of our own");
    fresh.engine.restore(loaded.dbs, loaded.functions, 0, 0);
    fresh.engine.restore_indexes(loaded.aux.indexes.as_deref()).expect("definitions of our own");
    assert_eq!(found(&fresh, "i", "lamp"), [""; 0]);
    build(&mut fresh);
    assert_eq!(found(&fresh, "i", "lamp"), ["p:1"]);
    let mut other = server.engine.empty_copy();
    other.adopt_indexes(&mut fresh.engine);
    assert_eq!(other.shared.search.find(b"i").expect("it was adopted").index.len(), 1);
    assert!(fresh.engine.shared.search.is_empty());
}

#[test]
fn a_temporary_index_goes_with_its_keys_when_nobody_uses_it() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    server.run(a, "FT.CREATE t TEMPORARY 10 PREFIX 1 p: SCHEMA name TEXT");
    server.run(a, "HSET p:1 name lamp");
    server.advance(9_000);
    server.run(a, "FT.INFO t");
    server.advance(9_000);
    assert_eq!(server.run(a, "FT._LIST"), "*1\r\n+t\r\n");
    server.advance(1_000);
    assert_eq!(server.run(a, "FT._LIST"), "*0\r\n");
    assert_eq!(server.run(a, "EXISTS p:1"), ":0\r\n");
    let mut follower = server.replica();
    let b = follower.connect(Resp::V2);
    assert_eq!(follower.run(b, "FT._LIST"), "*0\r\n");
    assert_eq!(follower.run(b, "EXISTS p:1"), ":0\r\n");
}

#[test]
fn replicas_of_redis_hear_of_keys_and_not_of_indexes() {
    let (mut server, a) = indexed();
    server.engine.feed(true);
    server.run(a, "HSET p:1 name lamp");
    server.run(a, "FT.ALIASADD other i");
    server.run(a, "FT.DICTADD d x");
    server.run(a, "FT.DROPINDEX i DD");
    let mut pieces = Vec::new();
    server.engine.shared.effects.take_pieces(&mut pieces);
    let text: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.bytes).collect();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("HSET") && text.contains("DEL") && !text.contains("FT."), "{text}");
}

#[test]
fn a_read_of_an_index_waits_for_what_is_not_released() {
    let (mut server, a) = indexed();
    server.send_held(a, &[b"HSET", b"p:1", b"name", b"lamp"]);
    server.release();
    server.output(a);
    let b = server.connect(Resp::V2);
    server.send_held(a, &[b"HSET", b"p:2", b"name", b"lamp"]);
    server.send_held(b, &[b"FT.INFO", b"i"]);
    assert_eq!(server.output(b), b"");
    server.release();
    assert!(server.output(b).starts_with(b"*"));
}

#[test]
fn an_index_that_is_worn_out_is_replaced_while_it_goes_on_answering() {
    let (mut server, a) = indexed();
    for n in 0..200 {
        server.run(a, &format!("HSET p:{n} name lamp price {n}"));
        server.run(a, &format!("HSET p:{n} tags a"));
    }
    server.run(a, "FT.SYNUPDATE i g SKIPINITIALSCAN lamp light");
    let entry = server.engine.shared.search.find_mut(b"i").expect("it is there");
    assert_eq!(entry.index.stats().max_doc_id, 400);
    entry.begin_successor(1);
    assert!(server.engine.build_indexes(&server.host, 50));
    assert_eq!(found(&server, "i", "lamp").len(), 200, "the old one answers");
    server.run(a, "DEL p:1");
    server.run(a, "HSET p:new name lamp");
    server.run(a, "HSET p:2 name chair");
    build(&mut server);
    let entry = server.engine.shared.search.find(b"i").expect("it is there");
    assert!(entry.index.stats().max_doc_id < 400 && entry.successor.is_none());
    assert_eq!(found(&server, "i", "lamp").len(), 199);
    assert_eq!(found(&server, "i", "light").len(), 199);
    assert_eq!(found(&server, "i", "chair"), ["p:2"]);
    assert_eq!(server.engine.shared.search.trash.len(), 1, "the old one is dropped elsewhere");
}

#[test]
fn a_script_finds_what_it_has_written_however_much_that_is() {
    let (mut server, a) = indexed();
    let script = "for n = 1, 5000 do redis.call('HSET', 'p:' .. n, 'name', 'lamp') end \
                  redis.call('DEL', 'p:7') return redis.call('FT.SEARCH', 'i', 'lamp', 'LIMIT', 0, 0)";
    assert_eq!(server.send(a, &[b"EVAL", script.as_bytes(), b"0"]), b"*1\r\n:4999\r\n");
    server.run(a, "MULTI");
    server.run(a, "DEL p:8");
    server.run(a, "FT.SEARCH i lamp LIMIT 0 0");
    assert!(server.run(a, "EXEC").ends_with("*1\r\n:4998\r\n"));
    let follower = server.replica();
    assert_eq!(follower.engine.shared.search.find(b"i").expect("it is there").index.len(), 4998);
}

#[test]
fn keys_that_are_too_many_for_one_unit_stay_with_their_index() {
    let (mut server, a) = indexed();
    for n in 0..20 {
        server.run(a, &format!("HSET p:{n} name lamp"));
    }
    server.engine.shared.effects.unit_bytes_max = 1000;
    assert!(server.run(a, "FT.DROPINDEX i DD").starts_with("-The index has too many keys"));
    assert_eq!(found(&server, "i", "lamp").len(), 20);
    assert_eq!(server.run(a, "FT.DROPINDEX i"), "+OK\r\n");
    assert_eq!(server.run(a, "DBSIZE"), ":20\r\n");
}
