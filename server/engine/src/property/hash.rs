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
    "HEXPIRE",
    "HPEXPIRE",
    "HPEXPIRE",
    "HPEXPIRE",
    "HEXPIREAT",
    "HPEXPIREAT",
    "HPEXPIREAT",
    "HTTL",
    "HPTTL",
    "HEXPIRETIME",
    "HPEXPIRETIME",
    "HPERSIST",
    "HGETDEL",
    "HGETEX",
    "HGETEX",
    "HSETEX",
    "HSETEX",
];
const EXPIRE_CONDITIONS: &[&str] = &["", "", "", "NX", "XX", "GT", "LT", "XX GT", "FOO"];
const GET_OPTIONS: &[&str] = &["", "PERSIST", "PERSIST", "KEEPTTL", "EX", "FOO"];
const SET_OPTIONS: &[&str] =
    &["", "KEEPTTL", "KEEPTTL", "FNX", "FXX", "FXX KEEPTTL", "FNX FXX", "PERSIST", "EX"];
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
        "HEXPIRE" | "HPEXPIRE" | "HEXPIREAT" | "HPEXPIREAT" => {
            argv.push(time(rng, &name[1..]));
            argv.extend(pick(rng, EXPIRE_CONDITIONS).split_whitespace().map(Vec::from));
            fields(rng, false, &mut argv);
        }
        "HTTL" | "HPTTL" | "HEXPIRETIME" | "HPEXPIRETIME" | "HPERSIST" | "HGETDEL" => {
            fields(rng, false, &mut argv);
        }
        "HGETEX" | "HSETEX" => {
            let options = if name == "HGETEX" { GET_OPTIONS } else { SET_OPTIONS };
            argv.extend(pick(rng, options).split_whitespace().map(Vec::from));
            if one_in(rng, 2) {
                let option = pick(rng, &["EX", "PX", "PX", "EXAT", "PXAT"]);
                argv.extend([option.into(), time(rng, option)]);
            }
            fields(rng, name == "HSETEX", &mut argv);
        }
        "HRANDFIELD" => argv.push(pick(rng, &["2", "-3", "0", "x"]).into()),
        _ => {}
    }
    if one_in(rng, 30) {
        argv.push(value(rng));
    }
    argv
}

/// For a command or an option of this name. Tests begin at 1 700 000 000 000 ms.
fn time(rng: &Rng, name: &str) -> Vec<u8> {
    if one_in(rng, 20) {
        return pick(rng, &["0", "-1", "x", "70368744177664", "9223372036854775807"]).into();
    }
    let soon_ms = rng.below(if one_in(rng, 2) { 300 } else { 30_000 });
    let time = match name {
        "EX" | "EXPIRE" => soon_ms / 1000,
        "PX" | "PEXPIRE" => soon_ms,
        "EXAT" | "EXPIREAT" => 1_700_000_000 + soon_ms / 1000,
        _ => 1_700_000_000_000 + soon_ms,
    };
    time.to_string().into_bytes()
}

/// `FIELDS n field …`, with a value for each field if there have to be `values`.
fn fields(rng: &Rng, values: bool, argv: &mut Vec<Vec<u8>>) {
    let count = rng.below(5) + u64::from(!one_in(rng, 10));
    argv.extend([b"FIELDS".to_vec(), count.to_string().into_bytes()]);
    for _ in 0..count {
        argv.push(field(rng));
        if values {
            argv.push(value(rng));
        }
    }
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
