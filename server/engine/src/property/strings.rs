//! Commands on strings, bitmaps and HyperLogLogs.

use super::{pick, words};
use crate::rng::Rng;

/// A command of the families.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    let n = rng.below(1000).to_string();
    let line = match rng.below(16) {
        0..3 => {
            pick(rng, &["SET K #", "SET K text", "SET K # XX", "SET K v NX GET", "SET K a b", "SETNX K #"])
        }
        3 => pick(
            rng,
            &[
                "SET K # EX 1",
                "SET K # PX 15",
                "SET K v KEEPTTL",
                "SET K v PXAT 1",
                "SET K v EX 0",
                "SETEX K 1 v",
            ],
        ),
        4 => pick(
            rng,
            &[
                "PSETEX K 10 v",
                "GETEX K PX 10",
                "GETEX K PERSIST",
                "GETEX K EXAT 5",
                "GETDEL K",
                "GETSET K #",
            ],
        ),
        5..7 => pick(rng, &["INCR K", "DECR K", "INCRBY K #", "DECRBY K #", "INCRBY K 9223372036854775807"]),
        7 => {
            pick(rng, &["INCRBYFLOAT K 0.1", "INCRBYFLOAT K -1e3", "INCRBYFLOAT K x", "INCRBYFLOAT K 1e308"])
        }
        8..10 => pick(
            rng,
            &["APPEND K #", "SETRANGE K # patch", "SETRANGE K 3 x", "SETRANGE K -1 x", "APPEND K text"],
        ),
        10 => pick(rng, &["MSET K 1 K 2 K 3", "MSETNX K 1 K 2", "MSET K", "MGET K K"]),
        11..13 => pick(rng, &["SETBIT K # 1", "SETBIT K # 0", "SETBIT K x 1", "BITCOUNT K"]),
        13 => pick(rng, &["PFADD K a b c", "PFADD K #", "PFADD K", "PFMERGE K K K"]),
        14 => pick(rng, &["PFCOUNT K K", "PFCOUNT K", "STRLEN K", "GETRANGE K 0 #"]),
        _ => pick(rng, &["GET K", "DEL K", "SET K 10"]),
    };
    // `#` stands for a number.
    words(rng, &line.replace('#', &n))
}
