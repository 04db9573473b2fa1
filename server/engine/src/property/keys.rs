//! Commands on keys of any type.

use super::{pick, words};
use crate::rng::Rng;

/// A command of the family.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    let line = match rng.below(12) {
        0 => pick(rng, &["DEL K", "DEL K K", "UNLINK K K K"]),
        1..4 => pick(
            rng,
            &["PEXPIRE K 20", "EXPIRE K 1 NX", "PEXPIRE K 30 GT", "PEXPIRE K 5 LT", "PEXPIRE K 9 XX"],
        ),
        4 => pick(
            rng,
            &["EXPIREAT K 1", "PEXPIREAT K 99999999999999", "EXPIRE K -5", "PEXPIRE K x", "PERSIST K"],
        ),
        5..7 => pick(rng, &["RENAME K K", "RENAMENX K K"]),
        7 => pick(rng, &["COPY K K", "COPY K K REPLACE", "COPY K K DB 1", "MOVE K 1"]),
        8 => pick(rng, &["SELECT 1", "SELECT 0", "SELECT 0", "SELECT 99"]),
        9 => pick(rng, &["TTL K", "TYPE K", "EXISTS K K", "TOUCH K", "OBJECT ENCODING K", "DUMP K"]),
        10 => pick(rng, &["RESTORE K 0 garbage", "RESTORE K 0 \u{0}\u{1}a", "SCAN 0", "KEYS *", "RANDOMKEY"]),
        _ => pick(rng, &["MEMORY USAGE K", "PTTL K", "EXPIRETIME K"]),
    };
    words(rng, line)
}
