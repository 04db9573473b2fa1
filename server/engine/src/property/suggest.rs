//! Random commands on suggestions.

use super::{key, one_in, pick};
use crate::rng::Rng;

const TEXTS: &[&str] = &["", "a", "ab", "abc", "abd", "b", "B", "żółw", "x x x", "abcabcabcabcabcabc"];

/// A command, sometimes a wrong one.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    let name = pick(rng, &["FT.SUGADD", "FT.SUGADD", "FT.SUGADD", "FT.SUGDEL", "FT.SUGGET", "FT.SUGLEN"]);
    let mut argv = vec![name.into(), key(rng)];
    if name != "FT.SUGLEN" {
        argv.push(match rng.below(20) {
            0 => vec![b'x'; 1000],
            1 => b"\xff\x00a".to_vec(),
            _ => pick(rng, TEXTS).into(),
        });
    }
    if name == "FT.SUGADD" {
        argv.push(pick(rng, &["1", "0.1", "-3", "1e300", "inf", "-inf", "7", "x"]).into());
        if one_in(rng, 3) {
            argv.push(b"INCR".to_vec());
        }
        if one_in(rng, 3) {
            argv.extend([b"PAYLOAD".to_vec(), pick(rng, &["", "p", "q\0r"]).into()]);
        }
    }
    argv
}
