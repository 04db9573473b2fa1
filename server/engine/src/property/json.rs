//! Random commands on JSON documents.

use super::{key, one_in, pick};
use crate::rng::Rng;

const NAMES: &[&str] = &[
    "JSON.SET",
    "JSON.SET",
    "JSON.SET",
    "JSON.SET",
    "JSON.MSET",
    "JSON.MERGE",
    "JSON.MERGE",
    "JSON.DEL",
    "JSON.FORGET",
    "JSON.NUMINCRBY",
    "JSON.NUMMULTBY",
    "JSON.STRAPPEND",
    "JSON.ARRAPPEND",
    "JSON.ARRAPPEND",
    "JSON.ARRINSERT",
    "JSON.ARRPOP",
    "JSON.ARRTRIM",
    "JSON.TOGGLE",
    "JSON.CLEAR",
    "JSON.GET",
    "JSON.MGET",
    "JSON.TYPE",
    "JSON.STRLEN",
    "JSON.ARRLEN",
    "JSON.ARRINDEX",
    "JSON.OBJKEYS",
    "JSON.OBJLEN",
    "JSON.RESP",
    "JSON.DEBUG",
];

const PATHS: &[&str] = &[
    "$",
    "$",
    ".",
    "$.a",
    "$.b",
    "$.a.b",
    ".a",
    "b",
    "$.*",
    "$..a",
    "$..*",
    "$.a[0]",
    "$..[0]",
    "$.a[-1]",
    "$.a[0,0]",
    "$['a','b']",
    "$..[?(@>1)]",
    "$..[?(@.a)]",
    "$.a[1:]",
    r#"$["x\"\\ y"]"#,
    "$.c.d",
    "$[0]",
    "$[",
    "$.a.a.a",
];

const VALUES: &[&str] = &[
    "1",
    "-7",
    "2.5",
    "1e3",
    "9223372036854775807",
    "18446744073709551615",
    "1.7e308",
    "\"text\"",
    "\"ż\\n\\u0001\"",
    "true",
    "false",
    "null",
    "[]",
    "{}",
    "[1,2,3]",
    r#"{"a":1,"b":[2,{"a":3}]}"#,
    r#"{"a":null,"b":{"a":null}}"#,
    r#"{"x\"\\ y":[0],"a":["s",true]}"#,
    r#"{"a":{"a":[1,[2]],"b":"s"},"c":{},"b":true}"#,
    "{",
    "",
];

/// What most paths above find something in.
const DOCUMENTS: &[&str] = &[
    r#"{"a":[1,[2,"s",true],{"a":[0.5]}],"b":"text","c":{"d":[true,{"a":1}]},"x\"\\ y":"s"}"#,
    r#"{"a":{"b":[],"a":{"a":[1,2,3]}},"b":[{"a":false},{"a":"s","b":7}]}"#,
    r#"[[1,2],[3,"s"],{"a":[true],"b":"s"}]"#,
];

/// A command, sometimes a wrong one.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    let name = pick(rng, NAMES);
    let mut argv: Vec<Vec<u8>> = vec![name.into()];
    match name {
        "JSON.SET" if one_in(rng, 2) => {
            // Without documents the other commands have nothing to do.
            argv.extend([key(rng), b"$".to_vec(), pick(rng, DOCUMENTS).into()]);
            return argv;
        }
        "JSON.DEBUG" => argv.extend([b"MEMORY".to_vec(), key(rng), path(rng)]),
        "JSON.MGET" => argv.extend([key(rng), key(rng), path(rng)]),
        "JSON.MSET" => {
            for _ in 0..=rng.below(3) {
                argv.extend([key(rng), path(rng), value(rng)]);
            }
        }
        _ => {
            argv.push(key(rng));
            if !one_in(rng, 8) {
                argv.push(path(rng));
            }
        }
    }
    match name {
        "JSON.SET" => {
            argv.push(value(rng));
            argv.extend(pick(rng, &["", "", "", "NX", "XX", "NX XX"]).split_whitespace().map(Vec::from));
        }
        "JSON.STRAPPEND" => argv.push(pick(rng, &["\"x\"", "\"\"", "\"\\n\"", "1"]).into()),
        "JSON.MERGE" | "JSON.ARRINDEX" => argv.push(value(rng)),
        "JSON.NUMINCRBY" | "JSON.NUMMULTBY" => argv.push(pick(rng, VALUES[..7].as_ref()).into()),
        "JSON.ARRAPPEND" => argv.extend((0..=rng.below(2)).map(|_| value(rng))),
        "JSON.ARRINSERT" => {
            argv.push(pick(rng, &["0", "0", "-1", "2", "x"]).into());
            argv.extend((0..=rng.below(2)).map(|_| value(rng)));
        }
        "JSON.ARRPOP" => argv.push(index(rng)),
        "JSON.ARRTRIM" => argv.extend([index(rng), index(rng)]),
        _ => {}
    }
    argv
}

fn path(rng: &Rng) -> Vec<u8> {
    pick(rng, if one_in(rng, 3) { &["$..*"] } else { PATHS }).into()
}

fn value(rng: &Rng) -> Vec<u8> {
    match rng.below(20) {
        // An object with an index over its fields.
        0 => {
            let fields: Vec<String> = (0..rng.below(40)).map(|i| format!(r#""f{i}":{i}"#)).collect();
            format!("{{{}}}", fields.join(",")).into_bytes()
        }
        _ => pick(rng, VALUES).into(),
    }
}

fn index(rng: &Rng) -> Vec<u8> {
    pick(rng, &["0", "1", "-1", "2", "-3", "100", "x"]).into()
}
