//! Random commands of every family, for the property that everything rests on: applying the effects of some commands
//! leads to the same state as executing them.
//!
//! All families draw their keys from one small pool, so that they meet each other's types.

pub mod acl;
pub mod bitmap;
pub mod hash;
pub mod hyperloglog;
pub mod json;
pub mod keys;
pub mod list;
pub mod scripting;
pub mod search;
pub mod server;
pub mod set;
pub mod stream;
pub mod string;
pub mod suggest;
pub mod vector_set;
pub mod zset;

mod tests;

use crate::rng::Rng;

/// Makes a random command of a family.
type Generator = fn(&Rng) -> Vec<Vec<u8>>;

/// Every family.
const FAMILIES: &[Generator] = &[
    acl::random_command,
    bitmap::random_command,
    hash::random_command,
    hyperloglog::random_command,
    json::random_command,
    keys::random_command,
    list::random_command,
    scripting::random_command,
    search::random_command,
    server::random_command,
    set::random_command,
    stream::random_command,
    string::random_command,
    suggest::random_command,
    vector_set::random_command,
    zset::random_command,
];

/// A key that other families use too.
pub fn key(rng: &Rng) -> Vec<u8> {
    format!("k{}", rng.below(10)).into_bytes()
}

/// One of these.
pub fn pick<'a>(rng: &Rng, choices: &[&'a str]) -> &'a str {
    choices[rng.below(choices.len() as u64) as usize]
}

/// True once in `n` times.
pub fn one_in(rng: &Rng, n: u64) -> bool {
    rng.below(n) == 0
}

/// The words of a line; `K` stands for a key.
pub fn words(rng: &Rng, line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| if word == "K" { key(rng) } else { word.as_bytes().to_vec() }).collect()
}
