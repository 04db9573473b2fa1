//! Random commands on keys of any type.

use super::{key, one_in, pick, words};
use crate::rdb;
use crate::rng::Rng;
use crate::value::Value;

const LINES: &[&str] = &[
    "DEL K",
    "DEL K K K",
    "UNLINK K K",
    "EXISTS K K",
    "TOUCH K K",
    "TYPE K",
    "RENAME K K",
    "RENAME K K",
    "RENAMENX K K",
    "RENAME K",
    "COPY K K",
    "COPY K K REPLACE",
    "COPY K K DB 3 REPLACE",
    "COPY K K DB 3",
    "COPY K K DB 99",
    "COPY K K DB",
    "MOVE K 3",
    "MOVE K 0",
    "MOVE K x",
    "PERSIST K",
    "TTL K",
    "PTTL K",
    "EXPIRETIME K",
    "PEXPIRETIME K",
    "KEYS *",
    "KEYS k[1-4]",
    "KEYS k3",
    "SCAN 0 COUNT 3",
    "SCAN 0 TYPE string MATCH k*",
    "SCAN x",
    "RANDOMKEY",
    "DUMP K",
    "OBJECT ENCODING K",
    "OBJECT IDLETIME K",
    "OBJECT FREQ K",
    "MEMORY USAGE K",
    "SORT K",
    "SORT K ALPHA",
    "SORT K DESC LIMIT 1 3",
    "SORT K BY k* ALPHA STORE K",
    "SORT K ALPHA GET # GET k* STORE K",
    "SORT K ALPHA GET k*->f STORE K",
    "SORT K BY nosort DESC LIMIT 0 4 STORE K",
    "SORT K BY k* GET",
    "SORT_RO K BY nosort GET k*->f",
    "MEMORY USAGE K SAMPLES 0",
];
const CONDITIONS: &[&str] = &["", "", "", "NX", "XX", "GT", "LT", "XX GT", "NX GT", "FOO"];

/// A command, sometimes a wrong one.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    match rng.below(8) {
        0 | 1 => expire(rng),
        2 => restore(rng),
        _ => words(rng, pick(rng, LINES)),
    }
}

/// Tests begin at 1 700 000 000 000 ms.
fn expire(rng: &Rng) -> Vec<Vec<u8>> {
    let (name, time) = match rng.below(6) {
        0 => ("EXPIRE", pick(rng, &["1", "100", "0", "-5", "x", "9223372036854775807"]).to_owned()),
        1 => ("EXPIREAT", pick(rng, &["1700000003", "1800000000", "5", "-1"]).to_owned()),
        2 => ("PEXPIREAT", (1_700_000_000_000 + rng.below(20_000)).to_string()),
        _ => ("PEXPIRE", rng.below(400).to_string()),
    };
    let mut argv = vec![name.into(), key(rng), time.into_bytes()];
    argv.extend(pick(rng, CONDITIONS).split_whitespace().map(Vec::from));
    argv
}

fn restore(rng: &Rng) -> Vec<Vec<u8>> {
    let text = pick(rng, &["", "12", "some text", "a longer text that does not fit into the key's entry"]);
    let mut payload = rdb::dump_value(&Value::string(text.as_bytes()));
    if one_in(rng, 10) {
        payload.pop();
    }
    let ttl = pick(rng, &["0", "0", "5", "100000", "-1", "x"]);
    let name = pick(rng, &["RESTORE", "RESTORE", "RESTORE-ASKING"]);
    let mut argv = vec![name.into(), key(rng), ttl.into(), payload];
    let options =
        ["", "REPLACE", "REPLACE", "REPLACE ABSTTL", "REPLACE IDLETIME 5", "REPLACE FREQ 9", "FREQ 300"];
    argv.extend(pick(rng, &options).split_whitespace().map(Vec::from));
    argv
}
