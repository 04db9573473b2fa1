//! What golden scripts cannot show: time that runs out, and limits.

use cairn_proto::Resp;

use super::cursor::CURSORS_OF_INDEX_MAX;
use crate::client::Slot;
use crate::testing::TestEngine;

/// More than an index goes through between two looks at the clock.
const DOCS: usize = 3000;

fn products(count: usize) -> (TestEngine, Slot) {
    let mut engine = TestEngine::new();
    let client = engine.connect(Resp::V3);
    engine.run(client, "FT.CREATE idx PREFIX 1 p: SCHEMA t TEXT n NUMERIC SORTABLE plain NUMERIC");
    for n in 0..count {
        engine.run(client, &format!("HSET p:{n} t word n {n} plain {n}"));
    }
    (engine, client)
}

fn total(reply: &str) -> usize {
    let behind = reply.split("total_results\r\n:").nth(1).expect("the reply has a total");
    behind.split('\r').next().and_then(|text| text.parse().ok()).expect("the total is a number")
}

const QUESTIONS: &[&str] = &[
    "FT.SEARCH idx word NOCONTENT",
    "FT.SEARCH idx * SORTBY n LIMIT 0 5",
    "FT.SEARCH idx * SORTBY plain LIMIT 0 5",
    "FT.AGGREGATE idx * LOAD 1 @t LIMIT 0 5000",
    "FT.AGGREGATE idx word LOAD * LIMIT 0 5000",
];

#[test]
fn a_question_that_takes_too_long_is_answered_with_what_was_found_by_then_and_a_warning() {
    let (mut engine, client) = products(DOCS);
    for question in QUESTIONS {
        engine.host.leap_us = 0;
        let reply = engine.run(client, question);
        assert!(reply.ends_with("warning\r\n*0\r\n"), "{question}: {reply}");
        assert_eq!(total(&reply), DOCS, "{question}");
        engine.host.leap_us = 300_000;
        let reply = engine.run(client, question);
        assert!(reply.ends_with("warning\r\n*1\r\n+Timeout limit was reached\r\n"), "{question}: {reply}");
        assert!(total(&reply) < DOCS, "{question}");
    }
}

#[test]
fn what_follows_groups_has_a_time_limit_too() {
    let (mut engine, client) = products(DOCS);
    let question = "FT.AGGREGATE idx * GROUPBY 1 @n APPLY @n+1 AS m LIMIT 0 5000";
    assert_eq!(engine.run(client, question).matches("extra_attributes").count(), DOCS);
    engine.host.leap_us = 8_000;
    // The reading takes most of the time, the rest is not enough for all groups.
    let reply = engine.run(client, question);
    assert!(reply.ends_with("warning\r\n*1\r\n+Timeout limit was reached\r\n"), "{reply}");
    let rows = reply.matches("extra_attributes").count();
    assert!((1..DOCS).contains(&rows), "{rows}");
    engine.engine.shared.search.settings.fail_on_timeout = true;
    assert_eq!(engine.run(client, question), "-Timeout limit was reached\r\n");
}

#[test]
fn by_the_other_policy_a_question_that_takes_too_long_is_an_error() {
    let (mut engine, client) = products(DOCS);
    engine.engine.shared.search.settings.fail_on_timeout = true;
    engine.host.leap_us = 300_000;
    for question in QUESTIONS {
        assert_eq!(engine.run(client, question), "-Timeout limit was reached\r\n", "{question}");
    }
}

#[test]
fn a_question_may_take_the_time_that_it_asks_for() {
    let (mut engine, client) = products(DOCS);
    engine.host.leap_us = 100_000;
    let reply = engine.run(client, "FT.SEARCH idx word NOCONTENT TIMEOUT 50000");
    assert_eq!(total(&reply), DOCS);
    let reply = engine.run(client, "FT.SEARCH idx word NOCONTENT TIMEOUT 1");
    assert!(total(&reply) < DOCS);
}

#[test]
fn a_cursor_goes_on_behind_what_time_allowed() {
    let (mut engine, client) = products(DOCS);
    let mut seen = 0;
    let mut reply = engine.run(client, "FT.AGGREGATE idx * LOAD 1 @n WITHCURSOR COUNT 1000");
    for _ in 0..DOCS {
        seen += reply.matches("extra_attributes").count();
        let id = reply.trim_end().rsplit(':').next().expect("the id is the last integer").to_owned();
        if id == "0" {
            break;
        }
        engine.host.leap_us = 200_000;
        reply = engine.run(client, &format!("FT.CURSOR READ idx {id}"));
    }
    assert_eq!(seen, DOCS);
}

/// Between two documents that are found the reader itself may run out of time.
#[test]
fn a_cursor_goes_on_where_the_time_ran_out_between_two_documents() {
    let (mut engine, client) = products(1);
    for n in 1..DOCS {
        engine.run(client, &format!("HSET p:{n} t other n {n} plain {n}"));
    }
    engine.run(client, "HSET p:last t word n 7 plain 7");
    let question = "FT.AGGREGATE idx -other LOAD 1 @n WITHCURSOR COUNT 1000";
    engine.host.leap_us = 100_000;
    let reply = engine.run(client, question);
    assert_eq!(reply.matches("extra_attributes").count(), 1, "{reply}");
    let id = reply.trim_end().rsplit(':').next().expect("the id is the last integer").to_owned();
    assert_ne!(id, "0", "{reply}");
    engine.host.leap_us = 0;
    let reply = engine.run(client, &format!("FT.CURSOR READ idx {id}"));
    assert!(reply.matches("extra_attributes").count() == 1 && reply.ends_with(":0\r\n"), "{reply}");
}

#[test]
fn lists_of_fields_have_a_limit() {
    let (mut engine, client) = products(1);
    let names = |count: usize| (0..count).map(|n| format!(" f{n}")).collect::<String>();
    let bounds = "Value is outside acceptable bounds";
    for (question, name) in [("FT.SEARCH idx * RETURN", "RETURN"), ("FT.AGGREGATE idx * LOAD", "LOAD")] {
        let refused = engine.run(client, &format!("{question} 1025{}", names(1025)));
        assert_eq!(refused, format!("-Bad arguments for {name}: {bounds}\r\n"));
        assert!(!engine.run(client, &format!("{question} 1024{}", names(1024))).starts_with('-'));
    }
    for mark in ["HIGHLIGHT", "SUMMARIZE"] {
        let refused = engine.run(client, &format!("FT.SEARCH idx * {mark} FIELDS 1025{}", names(1025)));
        assert_eq!(refused, format!("-Bad arguments for {mark}\r\n"));
    }
    let reducers = |count: usize| (0..count).map(|n| format!(" REDUCE COUNT 0 AS r{n}")).collect::<String>();
    let question = "FT.AGGREGATE idx * GROUPBY 0";
    let refused = engine.run(client, &format!("{question}{}", reducers(1025)));
    assert_eq!(refused, format!("-Bad arguments for REDUCE: {bounds}\r\n"));
    assert!(!engine.run(client, &format!("{question}{}", reducers(1024))).starts_with('-'));
}

#[test]
fn an_index_has_so_many_cursors_and_those_that_nobody_reads_make_room() {
    let (mut engine, client) = products(3);
    for _ in 0..CURSORS_OF_INDEX_MAX {
        engine.run(client, "FT.AGGREGATE idx * LOAD 1 @n WITHCURSOR COUNT 1 MAXIDLE 1000");
    }
    let refused = engine.run(client, "FT.AGGREGATE idx * LOAD 1 @n WITHCURSOR COUNT 1");
    assert_eq!(refused, "-INDEX_CURSOR_LIMIT of 128 has been reached for an index\r\n");
    engine.now_ms += 1001;
    let reply = engine.run(client, "FT.AGGREGATE idx * LOAD 1 @n WITHCURSOR COUNT 1");
    assert!(reply.starts_with("*2\r\n"), "{reply}");
    assert_eq!(engine.engine.shared.search.cursors.count(b"idx"), (1, 1));
}

#[test]
fn what_has_expired_is_not_shown_though_nobody_has_removed_it() {
    let (mut engine, client) = products(2);
    engine.run(client, "PEXPIRE p:0 100");
    engine.run(client, "HPEXPIRE p:1 100 FIELDS 1 n");
    engine.now_ms += 101;
    let reply = engine.run(client, "FT.SEARCH idx word");
    assert!(!reply.contains("p:0") && reply.contains("p:1") && !reply.contains("\r\nn\r\n"), "{reply}");
    let reply = engine.run(client, "FT.AGGREGATE idx word LOAD 2 @__key @plain");
    assert!(!reply.contains("p:0") && reply.contains("p:1"), "{reply}");
}

#[test]
fn words_of_dictionaries_are_no_longer_than_those_of_indexes() {
    let mut engine = TestEngine::new();
    let client = engine.connect(Resp::V3);
    let word = "w".repeat(1024);
    assert_eq!(engine.run(client, &format!("FT.DICTADD d {word}")), ":1\r\n");
    let refused = engine.run(client, &format!("FT.DICTADD d short {word}w"));
    assert_eq!(refused, "-Maximum dictionary term length is 1024\r\n");
    assert_eq!(engine.run(client, "FT.DICTDEL d short"), ":0\r\n");
}

#[test]
fn ranges_are_put_together_only_while_there_is_time() {
    let (mut engine, client) = products(10);
    let ranges = vec!["@n>=0"; 1000].join("|");
    engine.host.leap_us = 10_000;
    let reply = engine.run(client, &format!("FT.SEARCH idx {ranges} NOCONTENT DIALECT 2"));
    assert!(reply.ends_with("warning\r\n*1\r\n+Timeout limit was reached\r\n"), "{reply}");
}

#[test]
fn a_score_too_great_for_a_document_is_that_of_the_index() {
    let mut engine = TestEngine::new();
    let client = engine.connect(Resp::V2);
    engine.run(client, "FT.CREATE idx PREFIX 1 s: SCORE_FIELD score SCHEMA t TEXT");
    engine.run(client, "HSET s:1 t word score 1e300");
    let reply = engine.run(client, "FT.SEARCH idx word NOCONTENT WITHSCORES SCORER DOCSCORE");
    assert_eq!(reply, "*3\r\n:1\r\n$3\r\ns:1\r\n$1\r\n1\r\n");
}
