//! Random commands on vector sets.

use super::{key, one_in, pick};
use crate::rng::Rng;

const NAMES: &[&str] = &[
    "VADD",
    "VADD",
    "VADD",
    "VADD",
    "VADD",
    "VADD",
    "VREM",
    "VREM",
    "VSETATTR",
    "VSETATTR",
    "VSIM",
    "VCARD",
    "VDIM",
    "VEMB",
    "VGETATTR",
    "VINFO",
    "VISMEMBER",
    "VLINKS",
    "VRANDMEMBER",
    "VRANGE",
];

const ATTRIBUTES: &[&str] = &["", "{\"a\":1}", "{\"a\":2,\"b\":[\"x\"]}", "no json"];

/// A command, sometimes a wrong one. Most sets have two dimensions, so that elements come together in them.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    let name = pick(rng, NAMES);
    let mut argv: Vec<Vec<u8>> = vec![name.into(), key(rng)];
    let element = || format!("e{}", rng.below(40)).into_bytes();
    match name {
        "VADD" => {
            let projected = one_in(rng, 6);
            if projected {
                argv.extend([b"REDUCE".to_vec(), b"2".to_vec()]);
            }
            argv.extend(vector(rng, if projected { 5 } else { 2 }));
            argv.push(element());
            // Of one form in the main, or few would fit.
            argv.extend(
                pick(rng, &["", "", "", "", "NOQUANT", "BIN", "M 4", "EF 3", "CAS"])
                    .split_whitespace()
                    .map(Vec::from),
            );
            if one_in(rng, 3) {
                argv.extend([b"SETATTR".to_vec(), pick(rng, ATTRIBUTES).into()]);
            }
        }
        "VSIM" => {
            if one_in(rng, 2) {
                argv.extend([b"ELE".to_vec(), element()]);
            } else {
                argv.extend(vector(rng, 2));
            }
            let options = &[
                "",
                "WITHSCORES",
                "WITHATTRIBS COUNT 3",
                "TRUTH",
                "EF 2 EPSILON 0.3",
                "FILTER .a==1 FILTER-EF 5",
            ];
            argv.extend(pick(rng, options).split_whitespace().map(Vec::from));
        }
        "VREM" | "VGETATTR" | "VISMEMBER" | "VLINKS" | "VEMB" => argv.push(element()),
        "VSETATTR" => argv.extend([element(), pick(rng, ATTRIBUTES).into()]),
        "VRANDMEMBER" => argv.push(pick(rng, &["3", "-3", "0"]).into()),
        "VRANGE" => {
            argv.extend(pick(rng, &["- +", "[e1 (e3", "( +", "+ -"]).split_whitespace().map(Vec::from))
        }
        _ => {}
    }
    argv
}

fn vector(rng: &Rng, dim: u64) -> Vec<Vec<u8>> {
    let numbers = || (0..dim).map(|_| rng.below(200) as f32 / 10.0 - 10.0);
    if one_in(rng, 3) {
        let blob = numbers().flat_map(f32::to_le_bytes).collect();
        return vec![b"FP32".to_vec(), blob];
    }
    let mut words = vec![b"VALUES".to_vec(), dim.to_string().into_bytes()];
    words.extend(numbers().map(|number| number.to_string().into_bytes()));
    if one_in(rng, 20) {
        words[2] = pick(rng, &["inf", "x", "nan", "1e300", "0"]).into();
    }
    words
}
