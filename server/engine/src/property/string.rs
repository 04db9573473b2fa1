//! Random commands on strings.

use super::{key, one_in, pick, words};
use crate::rng::Rng;

const LINES: &[&str] = &[
    "GET K",
    "GETDEL K",
    "GETEX K",
    "GETEX K PERSIST",
    "GETEX K PX 30",
    "GETEX K PXAT 5",
    "GETEX K EX x",
    "MGET K K",
    "INCR K",
    "DECR K",
    "INCRBY K 9223372036854775807",
    "DECRBY K 5",
    "DECRBY K -9223372036854775808",
    "INCRBYFLOAT K 0.1",
    "INCRBYFLOAT K -1e3",
    "INCRBYFLOAT K inf",
    "STRLEN K",
    "LCS K K",
    "LCS K K IDX WITHMATCHLEN",
    "LCS K K LEN IDX",
    "GETRANGE K 1 -2",
    "SUBSTR K 0 3",
    "SETRANGE K 3 xyz",
    "SETRANGE K 60 end",
    "SETRANGE K -1 x",
    "SETRANGE K 99999999999 x",
    "SETNX K 5",
    "SETEX K 1 v",
    "SETEX K 0 v",
    "PSETEX K 25 v",
    "MSET K 1 K 2",
    "MSET K 1 K",
    "MSETNX K 1 K 2",
];
const SET_OPTIONS: &[&str] = &[
    "",
    "",
    "NX",
    "XX",
    "GET",
    "XX GET",
    "KEEPTTL",
    "PX 20",
    "EX 100",
    "PX 20 GET",
    "PXAT 1700000005000",
    "EXAT 5",
    "EX 1 EX 2",
    "EX 1 PX 1",
    "EX 0",
    "NX XX",
    "FOO",
];

/// A command, sometimes a wrong one.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    match rng.below(6) {
        0 | 1 => {
            let mut argv = vec![b"SET".to_vec(), key(rng), value(rng)];
            argv.extend(pick(rng, SET_OPTIONS).split_whitespace().map(Vec::from));
            argv
        }
        2 => vec![b"APPEND".to_vec(), key(rng), value(rng)],
        3 => vec![b"GETSET".to_vec(), key(rng), value(rng)],
        _ => words(rng, pick(rng, LINES)),
    }
}

fn value(rng: &Rng) -> Vec<u8> {
    if one_in(rng, 20) {
        return vec![b'x'; rng.below(3000) as usize];
    }
    pick(rng, &["", "0", "41", "-9", "2.75", " 1", "text", "exactly twenty-two b.", "\u{1}\u{2}", "HYLL"])
        .into()
}
