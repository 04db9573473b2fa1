//! Random commands on hashes.

use super::{key, one_in, pick};
use crate::rng::Rng;

const NAMES: &[&str] = &[
    "HSET",
    "HSET",
    "HSET",
    "HMSET",
    "HSETNX",
    "HINCRBY",
    "HINCRBYFLOAT",
    "HDEL",
    "HDEL",
    "HGET",
    "HMGET",
    "HGETALL",
    "HKEYS",
    "HVALS",
    "HLEN",
    "HEXISTS",
    "HSTRLEN",
    "HSCAN",
    "HRANDFIELD",
];
const VALUES: &[&str] = &["", "1", "-7", "007", "2.5", "1e3", "9223372036854775807", "abc", "0x1p-3", "inf"];

/// A command, sometimes a wrong one.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    let name = pick(rng, NAMES);
    let mut argv = vec![name.as_bytes().to_vec(), key(rng)];
    match name {
        "HSET" | "HMSET" => {
            for _ in 0..=rng.below(4) {
                argv.push(field(rng));
                argv.push(value(rng));
            }
        }
        "HSETNX" | "HINCRBY" | "HINCRBYFLOAT" => argv.extend([field(rng), value(rng)]),
        "HDEL" | "HMGET" => argv.extend((0..=rng.below(4)).map(|_| field(rng))),
        "HGET" | "HEXISTS" | "HSTRLEN" => argv.push(field(rng)),
        "HSCAN" => argv.extend(
            pick(rng, &["0", "0 COUNT 2", "0 MATCH f1*", "x", "0 COUNT 0"]).split(' ').map(Vec::from),
        ),
        "HRANDFIELD" => argv.push(pick(rng, &["2", "-3", "0", "x"]).into()),
        _ => {}
    }
    if one_in(rng, 30) {
        argv.push(value(rng));
    }
    argv
}

fn field(rng: &Rng) -> Vec<u8> {
    match rng.below(8) {
        0 => rng.below(20).to_string().into_bytes(),
        1 => vec![b'f'; 70],
        _ => format!("f{}", rng.below(20)).into_bytes(),
    }
}

fn value(rng: &Rng) -> Vec<u8> {
    match rng.below(30) {
        0 => vec![b'v'; rng.below(200) as usize],
        _ => pick(rng, VALUES).into(),
    }
}
