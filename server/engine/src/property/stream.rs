//! Commands on streams.

use super::{one_in, pick};
use crate::rng::Rng;

/// A command that makes sense more often than not, on few keys, groups, consumers and ids.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    // Mostly of few keys: what is read, claimed and acknowledged must have been added before.
    let key = format!("k{}", rng.below(if one_in(rng, 4) { 10 } else { 2 }));
    let group = pick(rng, &["g1", "g2"]);
    let consumer = pick(rng, &["alice", "bob", "carol"]);
    let line = match rng.below(25) {
        0..6 => format!("XADD {key} {}{}{}", option(rng, "NOMKSTREAM "), trim(rng, 3), new_entry(rng)),
        6 => format!("XTRIM {key} {}", trim(rng, 1)),
        7 => format!("XDEL {key} {} {}", id(rng), id(rng)),
        8 => format!("XGROUP CREATE {key} {group} {} {}", start(rng), option(rng, "MKSTREAM")),
        9 => format!("XGROUP CREATE {key} {group} 0 MKSTREAM ENTRIESREAD {}", rng.below(5)),
        10 => format!("XGROUP SETID {key} {group} {}", start(rng)),
        11 => match rng.below(4) {
            0 => format!("XGROUP DESTROY {key} {group}"),
            1 => format!("XGROUP DELCONSUMER {key} {group} {consumer}"),
            _ => format!("XGROUP CREATECONSUMER {key} {group} {consumer}"),
        },
        12..16 => {
            let (count, block) = (option(rng, "COUNT 2 "), option(rng, "BLOCK 5 "));
            let from = if rng.below(3) > 0 { ">".to_owned() } else { id(rng) };
            let noack = if rng.below(4) == 0 { "NOACK " } else { "" };
            format!("XREADGROUP GROUP {group} {consumer} {count}{block}{noack}STREAMS {key} {from}")
        }
        16 => {
            // Several: few of all that could be are pending.
            let ids: Vec<String> = (0..6).map(|_| id(rng)).collect();
            format!("XACK {key} {group} {}", ids.join(" "))
        }
        17..19 => {
            let options = pick(
                rng,
                &[
                    "",
                    "JUSTID",
                    "FORCE",
                    "IDLE 7",
                    "TIME 5",
                    "RETRYCOUNT 3",
                    "FORCE JUSTID LASTID 4-1",
                    "FOO",
                ],
            );
            let idle = pick(rng, &["0", "10", "x"]);
            format!("XCLAIM {key} {group} {consumer} {idle} {} {} {options}", id(rng), id(rng))
        }
        19 => {
            let idle = pick(rng, &["0", "10"]);
            let (count, just_id) = (option(rng, "COUNT 2 "), option(rng, "JUSTID"));
            format!("XAUTOCLAIM {key} {group} {consumer} {idle} {} {count}{just_id}", id(rng))
        }
        20 => format!("XSETID {key} {} ENTRIESADDED {} MAXDELETEDID {}", id(rng), rng.below(9), id(rng)),
        21 => format!("XRANGE {key} {} + COUNT {}", id(rng), rng.below(3)),
        22 => format!("XREAD {}STREAMS {key} {}", option(rng, "BLOCK 5 "), pick(rng, &["$", "+", "0", "?"])),
        // It soon expires: streams do not go away by themselves.
        23 => format!("SET {key} v PX 3"),
        _ => pick(
            rng,
            &["DEL KEY", "XADD KEY", "XINFO STREAM KEY", "XADD KEY 1", "XLEN KEY", "XPENDING KEY g1"],
        )
        .replace("KEY", &key),
    };
    line.split_ascii_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

fn option(rng: &Rng, word: &'static str) -> &'static str {
    if rng.below(2) == 0 { word } else { "" }
}

fn id(rng: &Rng) -> String {
    format!("{}-{}", rng.below(8), rng.below(3))
}

fn start(rng: &Rng) -> String {
    if rng.below(3) == 0 { "$".to_owned() } else { id(rng) }
}

/// Nothing, but once in `rarely`.
fn trim(rng: &Rng, rarely: u64) -> String {
    if rng.below(rarely) > 0 {
        return String::new();
    }
    let how = pick(rng, &["", "=", "~"]);
    let limit = if rng.below(4) == 0 { "LIMIT 4 " } else { "" };
    match rng.below(2) {
        0 => format!("MAXLEN {how} {} {limit}", rng.below(12)),
        _ => format!("MINID {how} {} {limit}", id(rng)),
    }
}

fn new_entry(rng: &Rng) -> String {
    let fields = pick(rng, &["f v", "f 1 g 2", "g v", "f"]);
    match rng.below(32) {
        // Seldom: no id of ours is greater.
        0 => format!("* {fields}"),
        1..8 => format!("{}-* {fields}", rng.below(8)),
        _ => format!("{} {fields}", id(rng)),
    }
}
