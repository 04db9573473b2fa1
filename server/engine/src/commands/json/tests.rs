//! What the scripts cannot show: what is written down of a change, and what it copies.

use cairn_json::Json;
use cairn_proto::Resp;

use crate::testing::TestEngine;
use crate::value::Value;

fn document(server: &TestEngine, key: &str) -> Json {
    match server.engine.keys.peek(key.as_bytes()) {
        Some(Value::Json(document)) => document.clone(),
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn what_is_written_down_is_the_change_at_its_place() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    for (line, effects) in [
        (
            r#"JSON.SET d . {"n":1,"s":"x","b":true,"l":[1,2,3],"m":[{"n":5},{"n":1.5}]} NX"#,
            &[r#"JSON.SET d $ {"n":1,"s":"x","b":true,"l":[1,2,3],"m":[{"n":5},{"n":1.5}]}"#][..],
        ),
        ("JSON.SET d $.new 1", &[r#"JSON.SET d $["new"] 1"#]),
        ("JSON.SET d $.new 2 XX", &[r#"JSON.SET d $["new"] 2"#]),
        (
            "JSON.NUMINCRBY d $..n 0.25",
            &[
                r#"JSON.SET d $["n"] 1.25"#,
                r#"JSON.SET d $["m"][0]["n"] 5.25"#,
                r#"JSON.SET d $["m"][1]["n"] 1.75"#,
            ],
        ),
        ("JSON.NUMMULTBY d m[?(@.n>5)].n 2", &[r#"JSON.SET d $["m"][0]["n"] 10.5"#]),
        (r#"JSON.STRAPPEND d $.s "y""#, &[r#"JSON.STRAPPEND d $["s"] "y""#]),
        ("JSON.TOGGLE d $.b", &[r#"JSON.SET d $["b"] false"#]),
        ("JSON.ARRAPPEND d ..l 4 5", &[r#"JSON.ARRAPPEND d $["l"] 4 5"#]),
        ("JSON.ARRINSERT d $.* 0 0", &[r#"JSON.ARRINSERT d $["l"] 0 0"#, r#"JSON.ARRINSERT d $["m"] 0 0"#]),
        ("JSON.ARRPOP d $.l -2", &[r#"JSON.ARRPOP d $["l"] 4"#]),
        ("JSON.ARRTRIM d $.l 1 -1", &[r#"JSON.ARRTRIM d $["l"] 1 -1"#]),
        (
            r#"JSON.MERGE d $.m[*] {"k":null}"#,
            &[
                r#"JSON.MERGE d $["m"][0] {"k":null}"#,
                r#"JSON.MERGE d $["m"][1] {"k":null}"#,
                r#"JSON.MERGE d $["m"][2] {"k":null}"#,
            ],
        ),
        ("JSON.CLEAR d $.m", &[r#"JSON.SET d $["m"] []"#]),
        ("JSON.DEL d $.l[0,1]", &[r#"JSON.DEL d $["l"][1]"#, r#"JSON.DEL d $["l"][0]"#]),
        ("JSON.MSET d $.n 1 e $ 2", &[r#"JSON.SET d $["n"] 1"#, "JSON.SET e $ 2"]),
        ("JSON.DEL d $.*", &["DEL d"]),
        ("JSON.FORGET e", &["DEL e"]),
    ] {
        assert_eq!(server.effects_of(a, line), effects, "{line}");
    }
}

#[test]
fn what_changes_nothing_is_not_written_down() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    server.run(a, r#"JSON.SET d $ {"n":1,"e":[],"big":1.7e308,"l":[1,[2]]}"#);
    server.run(a, "SET s v");
    let before = document(&server, "d");
    let dirty = server.engine.shared.effects.dirty();
    for line in [
        "JSON.SET d $ 1 NX",
        "JSON.SET none $ 1 XX",
        "JSON.SET d $.x.y 1",
        "JSON.SET d $.e[0] 1",
        "JSON.SET d $.n {",
        "JSON.DEL d $.x",
        "JSON.DEL none",
        "JSON.NUMINCRBY d $.e 1",
        "JSON.NUMINCRBY d $.* 1.7e308",
        "JSON.ARRPOP d $.e",
        "JSON.ARRPOP d .e",
        "JSON.ARRINSERT d $..* 2 0",
        "JSON.ARRAPPEND d $.n 1",
        "JSON.CLEAR d $.e",
        "JSON.TOGGLE d $.n",
        "JSON.MSET d $.n 2 none $.x 1",
        "JSON.MERGE d $.x.y 1",
        "JSON.SET s $ 1",
        "JSON.GET d $..*",
    ] {
        assert!(server.effects_of(a, line).is_empty(), "{line}");
    }
    assert_eq!(document(&server, "d").to_text(), before.to_text());
    assert_eq!(server.engine.shared.effects.dirty(), dirty);
}

#[test]
fn a_value_that_goes_to_many_places_is_copied_for_each() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    server.run(a, "JSON.SET d $ [0,0,[],[]]");
    server.run(a, r#"JSON.SET d $[0,1] {"k":[1]}"#);
    server.run(a, r#"JSON.ARRAPPEND d $[2,3] {"k":[1]}"#);
    let doc = document(&server, "d");
    let elements = doc.as_array().expect("an array");
    assert!(!elements[0].shares_with(&elements[1]));
    let inner = |at: usize| &elements[at].as_array().expect("an array")[0];
    assert!(!inner(2).shares_with(inner(3)));
}

#[test]
fn what_would_grow_or_nest_without_bound_is_refused() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    let zeros = format!("[{}0]", "0,".repeat(9_999));
    server.run(a, &format!("JSON.SET d $ {zeros}"));
    let long = format!("\"{}\"", "x".repeat(60_000));
    let reply = server.run(a, &format!("JSON.SET d $[*] {long}"));
    assert!(reply.starts_with("-ERR the value would be put into too many places"), "{reply}");
    let reply = server.run(a, &format!("JSON.GET d{}", " $[0]".repeat(1025)));
    assert_eq!(reply, "-ERR too many paths\r\n");

    let nested = format!("{}0{}", "[".repeat(100), "]".repeat(100));
    server.run(a, &format!("JSON.SET e $ {nested}"));
    let mut place = String::from("$");
    let mut replies = Vec::new();
    for _ in 0..6 {
        place.push_str(&"[0]".repeat(100));
        replies.push(server.run(a, &format!("JSON.SET e {place} {nested}")));
    }
    assert_eq!(replies[3], "+OK\r\n");
    assert!(replies[4].starts_with("-ERR the document would be nested too deeply"), "{}", replies[4]);
    assert_eq!(document(&server, "e").depth(), 500);
    // As deep as it is, it can be dumped, restored, and dropped.
    assert_eq!(server.run(a, "COPY e f"), ":1\r\n");
    let bytes = crate::rdb::dump_value(&Value::Json(document(&server, "e")));
    let config = crate::config::Config::default();
    let options = crate::rdb::LoadOptions { databases: 1, seed: server.engine.keys.seed(), config: &config };
    let Ok(Value::Json(back)) = crate::rdb::load_value(&bytes, &options) else { panic!("it is a document") };
    assert_eq!(back, document(&server, "e"));
}

/// The whole key was written down for each place: a long one and many places made an entry that no journal takes, which ended
/// the server.
#[test]
fn what_would_write_down_more_than_a_unit_holds_changes_nothing() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    let key = "k".repeat(1000);
    server.run(a, &format!("JSON.SET {key} $ [{}1]", r#"0.5,true,"s",[0],{"a":1},"#.repeat(20)));
    let before = document(&server, &key);
    let batches = server.batches.len();
    server.engine.shared.effects.unit_bytes_max = 20_000;
    for rest in [
        "JSON.SET KEY $[*] 0",
        "JSON.MSET KEY $[0:10] 0 KEY $[10:20] 0",
        "JSON.MERGE KEY $[*] 0",
        "JSON.DEL KEY $[0:50]",
        "JSON.NUMINCRBY KEY $[*] 1",
        "JSON.NUMMULTBY KEY $[*] 2",
        "JSON.TOGGLE KEY $[*]",
        r#"JSON.STRAPPEND KEY $[*] "x""#,
        "JSON.CLEAR KEY $[*]",
        "JSON.ARRAPPEND KEY $[*] 1",
        "JSON.ARRINSERT KEY $[*] 0 1",
        "JSON.ARRPOP KEY $[*]",
        "JSON.ARRTRIM KEY $[*] 0 0",
    ] {
        let reply = server.run(a, &rest.replace("KEY", &key));
        assert!(reply.starts_with("-ERR this script or transaction has written more"), "{rest}: {reply}");
        assert_eq!(document(&server, &key), before, "{rest}");
        assert_eq!(server.batches.len(), batches, "{rest}");
    }
    // A few places are few enough.
    let long = format!("\"{}\"", "x".repeat(7_000));
    assert_eq!(server.run(a, &format!("JSON.SET {key} $[0,1] {long}")), "+OK\r\n");
    assert_eq!(server.run(a, &format!("JSON.DEL {key} $[0:10]")), ":10\r\n");
}

/// Each path, key and match had the whole limit for itself.
#[test]
fn what_a_command_reads_is_limited_as_a_whole() {
    const TOO_MANY: &str = "-ERR the path means too many values";
    const TOO_LONG: &str = "-ERR string exceeds maximum allowed size";
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    let b = server.connect(Resp::V3);
    server.run(a, &format!("JSON.SET zeros $ [{}0]", "0,".repeat(99_999)));
    server.run(a, &format!(r#"JSON.SET long $ {{"{}":"{}"}}"#, "n".repeat(10_000), "x".repeat(100_000)));
    let zeros = |times: usize| format!("$[{}0]", "0,".repeat(times - 1));
    let cases = [
        (a, format!("JSON.GET zeros{}", " $[0:90000] $[1:90000]".repeat(6)), TOO_MANY),
        (b, format!("JSON.GET zeros FORMAT EXPAND{}", " $[?@<0]".repeat(6)), TOO_MANY),
        (a, format!("JSON.MGET{} $[?@<0]", " zeros".repeat(6)), TOO_MANY),
        (a, format!("JSON.MSET{}", " zeros $[0:90000] 1".repeat(2)), TOO_MANY),
        (a, "JSON.ARRINDEX nested $[0,0,0,0,0,0,0,0,0,0,0,0] 1".to_owned(), TOO_MANY),
        (a, "JSON.DEBUG MEMORY nested $[0,0,0,0,0,0,0,0,0,0,0,0]".to_owned(), TOO_MANY),
        (a, format!("JSON.ARRINDEX strings $ \"{}y\"", "x".repeat(99_999)), TOO_MANY),
        (a, format!("JSON.MGET{} $", " long".repeat(50)), TOO_LONG),
        (a, format!("JSON.MGET{} .", " long".repeat(50)), TOO_LONG),
        (a, format!("JSON.GET longs {}", zeros(50)), TOO_LONG),
        (b, format!("JSON.GET longs FORMAT STRING {}", zeros(50)), TOO_LONG),
        (b, format!("JSON.GET longs FORMAT EXPAND1 {}", zeros(50)), TOO_LONG),
        (b, format!("JSON.GET longs FORMAT EXPAND {}", zeros(50)), TOO_LONG),
        (a, format!("JSON.RESP longs {}", zeros(50)), TOO_LONG),
        (a, format!("JSON.OBJKEYS longs {}", zeros(500)), TOO_LONG),
    ];
    let text = |server: &TestEngine, key: &str| document(server, key).to_text();
    let (nested, long) = (text(&server, "zeros"), text(&server, "long"));
    server.run(a, &format!("JSON.SET nested $ [{nested}]"));
    server.run(a, &format!("JSON.SET longs $ [{long}]"));
    server.run(a, &format!("JSON.SET strings $ [{}0]", format!("\"{}\",", "x".repeat(100_000)).repeat(100)));
    for (client, line, error) in cases {
        let reply = server.run(client, &line);
        let shown = |text: &str| text[..text.len().min(60)].to_owned();
        assert!(reply.starts_with(error), "{}: {}", shown(&line), shown(&reply));
    }
    // Less than that is answered.
    assert!(server.run(a, "JSON.ARRINDEX nested $[0,0] 1").starts_with("*2\r\n:-1"));
    assert!(server.run(a, &format!("JSON.MGET{} $", " long".repeat(30))).starts_with("*30\r\n$1100"));
}

#[test]
fn other_types_commands_meet_a_document_as_a_type_of_its_own() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    server.run(a, r#"JSON.SET d $ {"a":[1,2]}"#);
    for (line, reply) in [
        ("TYPE d", "+ReJSON-RL\r\n"),
        ("OBJECT ENCODING d", "$3\r\nraw\r\n"),
        ("GET d", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("LPUSH d 1", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("SCAN 0 TYPE rejson-rl", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nd\r\n"),
        ("SCAN 0 TYPE string", "*2\r\n$1\r\n0\r\n*0\r\n"),
        ("COPY d e", ":1\r\n"),
        ("JSON.ARRAPPEND e $.a 3", "*1\r\n:3\r\n"),
        ("JSON.GET d", "$11\r\n{\"a\":[1,2]}\r\n"),
        ("RENAME e f", "+OK\r\n"),
        ("JSON.GET f", "$13\r\n{\"a\":[1,2,3]}\r\n"),
        ("SET f 1", "+OK\r\n"),
        ("ACL DRYRUN default JSON.GET d", "+OK\r\n"),
    ] {
        assert_eq!(server.run(a, line), reply, "{line}");
    }
}
