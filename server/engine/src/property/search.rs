//! Random commands on indexes, over the keys of the other families.

use super::{one_in, pick, words};
use crate::rng::Rng;

const INDEXES: &[&str] = &["i1", "i2", "i3"];

const ALIASES: &[&str] = &["a1", "a2", "i1"];

const OPTIONS: &[&str] = &[
    "",
    "",
    "ON HASH",
    "ON JSON",
    "ON HASH PREFIX 1 k",
    "ON JSON PREFIX 2 k1 k2",
    "STOPWORDS 0",
    "LANGUAGE german NOOFFSETS",
    "SCORE 0.5 SCORE_FIELD s",
    "SKIPINITIALSCAN",
    "TEMPORARY 1000",
    "FILTER @a>1",
];

const FIELDS: &[&str] = &[
    "a TEXT",
    "a TEXT WEIGHT 2 NOSTEM SORTABLE",
    "$.a AS a TAG",
    "a NUMERIC SORTABLE",
    "f1 TAG SEPARATOR ; b NUMERIC",
    "f1 TEXT f2 TEXT f3 NUMERIC",
    "g GEO v VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2",
    "$.a.b AS ab TEXT INDEXEMPTY INDEXMISSING",
    "a TEXT a TEXT",
    "a",
];

/// A command, sometimes a wrong one.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    let index = pick(rng, INDEXES);
    let line = match rng.below(16) {
        8 => format!("FT.ALTER {index} SCHEMA ADD {}", pick(rng, FIELDS)),
        9 => format!("FT.ALIASADD {} {index}", pick(rng, ALIASES)),
        10 => format!("FT.ALIASUPDATE {} {index}", pick(rng, ALIASES)),
        11 => format!("FT.ALIASDEL {}", pick(rng, ALIASES)),
        12 => format!("FT.SYNUPDATE {index} {} {}", pick(rng, &["g", "h"]), pick(rng, &["x y", "z", "X"])),
        13 => format!("FT.DICTADD d {}", pick(rng, &["x y", "z", "X"])),
        14 => format!("FT.DICTDEL d {}", pick(rng, &["x", "y z X", "none"])),
        15 => format!("FT.DROP {index}{}", if one_in(rng, 2) { " KEEPDOCS" } else { "" }),
        0..=4 => {
            let (options, fields) = (pick(rng, OPTIONS), pick(rng, FIELDS));
            format!("FT.CREATE {index} {options} SCHEMA {fields}")
        }
        5..=6 => format!("FT.DROPINDEX {index}{}", if one_in(rng, 2) { " DD" } else { "" }),
        _ => "FT._LIST".to_owned(),
    };
    words(rng, &line.split_whitespace().collect::<Vec<_>>().join(" "))
}
