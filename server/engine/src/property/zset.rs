//! Commands on sorted sets and places.

use super::pick;
use crate::rng::Rng;

type Line = Vec<Vec<u8>>;

/// A command of the family: mostly sensible, sometimes wrong.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    let mut line = Line::new();
    let kinds: &[fn(&mut Line, &Rng)] =
        &[add, add, add, remove, pop, read, range, combine, places, search, other];
    kinds[rng.below(kinds.len() as u64) as usize](&mut line, rng);
    // An argument too few or too many is part of life.
    match rng.below(60) {
        0 => drop(line.pop()),
        1 => line.push(b"extra".to_vec()),
        _ => {}
    }
    line
}

fn word(line: &mut Line, text: impl AsRef<[u8]>) {
    line.push(text.as_ref().to_vec());
}

/// One of these, or, as often, nothing.
fn maybe(line: &mut Line, rng: &Rng, choices: &[&str]) {
    if rng.below(2) == 0 {
        word(line, pick(rng, choices));
    }
}

fn key(line: &mut Line, rng: &Rng) {
    line.push(super::key(rng));
}

fn member(line: &mut Line, rng: &Rng) {
    match rng.below(8) {
        0 => word(line, rng.below(20).to_string()),
        1 => word(line, format!("{:0>80}", rng.below(3))),
        _ => word(line, format!("m{}", rng.below(30))),
    }
}

fn score(line: &mut Line, rng: &Rng) {
    match rng.below(12) {
        0 => word(line, pick(rng, &["inf", "-inf", "nan", "x", "0x1p-3", "-0"])),
        1 => word(line, (rng.unit() * 1e20).to_string()),
        2..5 => word(line, (rng.unit() - 0.5).to_string()),
        _ => word(line, (rng.below(20) as i64 - 10).to_string()),
    }
}

fn index(line: &mut Line, rng: &Rng) {
    word(line, (rng.below(30) as i64 - 15).to_string());
}

fn score_bound(line: &mut Line, rng: &Rng) {
    if rng.below(3) == 0 {
        return word(line, pick(rng, &["-inf", "+inf", "(0", "bad"]));
    }
    score(line, rng);
}

fn lex_bound(line: &mut Line, rng: &Rng) {
    let bound = match rng.below(4) {
        0 => pick(rng, &["-", "+", "bad"]).to_owned(),
        _ => format!("{}m{}", pick(rng, &["[", "("]), rng.below(30)),
    };
    word(line, bound);
}

fn add(line: &mut Line, rng: &Rng) {
    if rng.below(4) == 0 {
        word(line, "ZINCRBY");
        key(line, rng);
        score(line, rng);
        return member(line, rng);
    }
    word(line, "ZADD");
    key(line, rng);
    maybe(line, rng, &["NX", "XX"]);
    maybe(line, rng, &["GT", "LT", "CH", "INCR", "CH", "CH"]);
    // Now and then enough to outgrow the listpack.
    let pairs = if rng.below(100) == 0 { 150 } else { 1 + rng.below(4) };
    for i in 0..pairs {
        score(line, rng);
        if pairs > 100 { word(line, format!("m{i}")) } else { member(line, rng) }
    }
}

fn remove(line: &mut Line, rng: &Rng) {
    let bound: fn(&mut Line, &Rng) = match rng.below(8) {
        0 => {
            word(line, "ZREMRANGEBYRANK");
            index
        }
        1 => {
            word(line, "ZREMRANGEBYSCORE");
            score_bound
        }
        2 => {
            word(line, "ZREMRANGEBYLEX");
            lex_bound
        }
        _ => {
            word(line, "ZREM");
            member
        }
    };
    key(line, rng);
    bound(line, rng);
    bound(line, rng);
}

fn pop(line: &mut Line, rng: &Rng) {
    let end = pick(rng, &["MIN", "MAX"]);
    match rng.below(4) {
        0 => {
            word(line, format!("ZPOP{end}"));
            key(line, rng);
            maybe(line, rng, &["0", "1", "3", "-1"]);
        }
        1 => {
            word(line, format!("BZPOP{end}"));
            key(line, rng);
            key(line, rng);
            word(line, "0.01");
        }
        blocking => {
            if blocking == 2 {
                line.extend([b"BZMPOP".to_vec(), b"0.01".to_vec()]);
            } else {
                word(line, "ZMPOP");
            }
            word(line, "2");
            key(line, rng);
            key(line, rng);
            word(line, end);
            if rng.below(2) == 0 {
                line.extend([b"COUNT".to_vec(), b"2".to_vec()]);
            }
        }
    }
}

fn read(line: &mut Line, rng: &Rng) {
    let name =
        pick(rng, &["ZCARD", "ZSCORE", "ZMSCORE", "ZRANK", "ZREVRANK", "ZRANDMEMBER", "ZSCAN", "ZCOUNT"]);
    word(line, name);
    key(line, rng);
    match name {
        "ZCARD" => {}
        "ZRANDMEMBER" => index(line, rng),
        "ZSCAN" => word(line, "0"),
        "ZCOUNT" => {
            score_bound(line, rng);
            score_bound(line, rng);
        }
        _ => member(line, rng),
    }
}

fn range(line: &mut Line, rng: &Rng) {
    let store = rng.below(3) == 0;
    if store {
        word(line, "ZRANGESTORE");
        key(line, rng);
    } else {
        word(line, "ZRANGE");
    }
    key(line, rng);
    let (by, bound): (_, fn(&mut Line, &Rng)) = match rng.below(3) {
        0 => ("BYSCORE", score_bound),
        1 => ("BYLEX", lex_bound),
        _ => ("", index),
    };
    bound(line, rng);
    bound(line, rng);
    if !by.is_empty() {
        word(line, by);
        if rng.below(3) == 0 {
            word(line, "LIMIT");
            index(line, rng);
            index(line, rng);
        }
    }
    maybe(line, rng, &["REV"]);
    if !store {
        maybe(line, rng, &["WITHSCORES"]);
    }
}

fn combine(line: &mut Line, rng: &Rng) {
    let name = pick(rng, &["ZUNION", "ZINTER", "ZDIFF"]);
    let store = rng.below(4) > 0;
    if store {
        word(line, format!("{name}STORE"));
        key(line, rng);
    } else {
        word(line, name);
    }
    let keys = 1 + rng.below(3);
    word(line, keys.to_string());
    (0..keys).for_each(|_| key(line, rng));
    if rng.below(3) == 0 {
        word(line, "WEIGHTS");
        (0..keys).for_each(|_| score(line, rng));
    }
    if rng.below(3) == 0 {
        word(line, "AGGREGATE");
        word(line, pick(rng, &["SUM", "MIN", "MAX", "BAD"]));
    }
    if !store {
        maybe(line, rng, &["WITHSCORES"]);
    }
}

fn coordinates(line: &mut Line, rng: &Rng) {
    word(line, (rng.unit() * 20.0 - 10.0).to_string());
    word(line, (rng.unit() * 20.0 - 10.0).to_string());
}

fn places(line: &mut Line, rng: &Rng) {
    word(line, "GEOADD");
    key(line, rng);
    maybe(line, rng, &["NX", "XX", "CH"]);
    for _ in 0..1 + rng.below(4) {
        coordinates(line, rng);
        member(line, rng);
    }
}

fn search(line: &mut Line, rng: &Rng) {
    let radius = rng.below(2_000).to_string();
    if rng.below(2) == 0 {
        word(line, "GEOSEARCHSTORE");
        key(line, rng);
        key(line, rng);
        if rng.below(2) == 0 {
            word(line, "FROMMEMBER");
            member(line, rng);
        } else {
            word(line, "FROMLONLAT");
            coordinates(line, rng);
        }
        word(line, "BYBOX");
        word(line, &radius);
        word(line, &radius);
        word(line, pick(rng, &["km", "mi", "parsec"]));
        maybe(line, rng, &["STOREDIST"]);
    } else {
        let by_member = rng.below(2) == 0;
        word(line, if by_member { "GEORADIUSBYMEMBER" } else { "GEORADIUS" });
        key(line, rng);
        if by_member {
            member(line, rng)
        } else {
            coordinates(line, rng)
        }
        word(line, &radius);
        word(line, pick(rng, &["km", "ft"]));
        word(line, pick(rng, &["STORE", "STOREDIST"]));
        key(line, rng);
    }
    if rng.below(3) == 0 {
        line.extend([b"COUNT".to_vec(), b"3".to_vec()]);
        maybe(line, rng, &["ANY"]);
    }
}

/// What the others meet: keys of another type, and none.
fn other(line: &mut Line, rng: &Rng) {
    word(line, pick(rng, &["SADD", "SET", "SADD"]));
    key(line, rng);
    member(line, rng);
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use super::*;
    use crate::digest;
    use crate::testing::TestEngine;

    #[test]
    fn effects_lead_another_engine_to_the_same_state() {
        for seed in 0..20 {
            let rng = Rng::new(seed);
            let mut server = TestEngine::new();
            let client = server.connect(Resp::V3);
            for _ in 0..1_000 {
                let line = random_command(&rng);
                let args: Vec<&[u8]> = line.iter().map(Vec::as_slice).collect();
                server.send(client, &args);
                server.advance(20);
            }
            assert!(server.engine.keys.db().len() > 3, "the commands do something");
            let replica = server.replica();
            let [ours, theirs] = [&server, &replica].map(|server| digest::keyspace(server.engine.keys.dbs()));
            assert_eq!(ours, theirs, "seed {seed}");
            for entry in server.engine.keys.db().dict.iter() {
                let copy = replica.engine.keys.peek(&entry.key).expect("the digests are equal");
                assert_eq!(copy.encoding(), entry.value.encoding(), "seed {seed}");
            }
        }
    }
}
