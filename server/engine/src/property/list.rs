//! Random commands on lists.

use super::{key, one_in, pick};
use crate::rng::Rng;

const NAMES: &[&str] = &[
    "LPUSH",
    "RPUSH",
    "LPUSH",
    "RPUSH",
    "LPUSHX",
    "RPUSHX",
    "LPOP",
    "RPOP",
    "LLEN",
    "LINDEX",
    "LRANGE",
    "LPOS",
    "LINSERT",
    "LINSERT",
    "LSET",
    "LSET",
    "LREM",
    "LREM",
    "LTRIM",
    "LMOVE",
    "LMOVE",
    "RPOPLPUSH",
    "LMPOP",
    "BLPOP",
    "BRPOP",
    "BLMOVE",
    "BRPOPLPUSH",
    "BLMPOP",
];

/// A command, sometimes a wrong one. One that waits gives up soon.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    let name = pick(rng, NAMES);
    let mut argv = vec![name.as_bytes().to_vec()];
    let add = |argv: &mut Vec<Vec<u8>>, words: &str| argv.extend(words.split(' ').map(Vec::from));
    match name {
        "LPUSH" | "RPUSH" | "LPUSHX" | "RPUSHX" => {
            argv.push(key(rng));
            argv.extend((0..=rng.below(6)).map(|_| element(rng)));
        }
        "LPOP" | "RPOP" => {
            argv.push(key(rng));
            argv.extend(pick(rng, &["", "", "0", "2", "7", "-1", "x"]).split_terminator(' ').map(Vec::from));
        }
        "LLEN" => argv.push(key(rng)),
        "LINDEX" => argv.extend([key(rng), index(rng)]),
        "LRANGE" | "LTRIM" => argv.extend([key(rng), index(rng), index(rng)]),
        "LPOS" => {
            argv.extend([key(rng), element(rng)]);
            add(&mut argv, pick(rng, &["RANK -1", "COUNT 0", "COUNT 2 MAXLEN 5", "RANK 0", "MAXLEN -1"]));
        }
        "LINSERT" => {
            argv.push(key(rng));
            add(&mut argv, pick(rng, &["BEFORE", "AFTER", "after", "BESIDE"]));
            argv.extend([element(rng), element(rng)]);
        }
        "LSET" => argv.extend([key(rng), index(rng), element(rng)]),
        "LREM" => {
            argv.push(key(rng));
            add(&mut argv, pick(rng, &["0", "1", "2", "-1", "-3", "x"]));
            argv.push(element(rng));
        }
        "LMOVE" | "BLMOVE" => {
            argv.extend([key(rng), key(rng)]);
            add(&mut argv, pick(rng, &["LEFT LEFT", "LEFT RIGHT", "RIGHT LEFT", "right right", "UP LEFT"]));
        }
        "RPOPLPUSH" | "BRPOPLPUSH" => argv.extend([key(rng), key(rng)]),
        "BLPOP" | "BRPOP" => argv.extend((0..=rng.below(3)).map(|_| key(rng))),
        _ => {
            if name == "BLMPOP" {
                argv.push(timeout(rng));
            }
            let keys = 1 + rng.below(3);
            argv.push(keys.to_string().into_bytes());
            argv.extend((0..keys).map(|_| key(rng)));
            add(&mut argv, pick(rng, &["LEFT", "RIGHT COUNT 2", "LEFT COUNT 9", "RIGHT COUNT 0", "UP"]));
        }
    }
    if matches!(name, "BLPOP" | "BRPOP" | "BLMOVE" | "BRPOPLPUSH") {
        argv.push(timeout(rng));
    }
    if one_in(rng, 40) {
        argv.push(element(rng));
    }
    argv
}

/// Elements that meet again, and now and then one that is too large for a node.
fn element(rng: &Rng) -> Vec<u8> {
    match rng.below(200) {
        0 => vec![b'e'; 8_000 + rng.below(1_000) as usize],
        1..5 => vec![b'e'; rng.below(300) as usize],
        5..10 => (rng.next() as i64).to_string().into_bytes(),
        10..100 => format!("e{}", rng.below(10)).into_bytes(),
        _ => rng.below(10).to_string().into_bytes(),
    }
}

fn index(rng: &Rng) -> Vec<u8> {
    match rng.below(20) {
        0 => b"x".to_vec(),
        _ => (rng.below(24) as i64 - 12).to_string().into_bytes(),
    }
}

/// Seconds; never 0, which could be for ever.
fn timeout(rng: &Rng) -> Vec<u8> {
    pick(rng, &["0.001", "0.005", "-1", "x"]).as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use super::*;
    use crate::config::Config;
    use crate::digest;
    use crate::testing::TestEngine;

    #[test]
    fn effects_rebuild_lists() {
        for seed in 0..16 {
            let rng = Rng::new(seed);
            let list_max_listpack_size = [-2, 3, 8, -1][seed as usize % 4];
            let mut server =
                TestEngine::with_config(Config { list_max_listpack_size, ..Config::default() }, seed);
            let clients = [Resp::V2, Resp::V3, Resp::V2, Resp::V3].map(|resp| server.connect(resp));
            for _ in 0..500 {
                let command = match rng.below(40) {
                    0 => super::super::words(&rng, "SET K 5"),
                    1 => super::super::words(&rng, "PEXPIRE K 3"),
                    2 => super::super::words(&rng, "RENAME K K"),
                    _ => random_command(&rng),
                };
                server.advance(rng.below(3) as i64);
                let mut ready = clients.to_vec();
                ready.retain(|&client| server.engine.accepts_commands(client));
                if ready.is_empty() {
                    server.advance(10);
                    ready.push(clients[0]);
                }
                let client = ready[rng.below(ready.len() as u64) as usize];
                let args: Vec<&[u8]> = command.iter().map(|arg| &arg[..]).collect();
                let before = server.engine.shared.effects.newest_seq();
                let state = one_in(&rng, 8).then(|| digest::keyspace(server.engine.keys.dbs()));
                server.send(client, &args);
                if let Some(state) = state.filter(|_| server.engine.shared.effects.newest_seq() == before) {
                    let now = digest::keyspace(server.engine.keys.dbs());
                    assert_eq!(state, now, "{command:?} changed something and did not say so");
                }
            }
            let replica = server.replica();
            let [here, there] = [&server, &replica].map(|engine| digest::keyspace(engine.engine.keys.dbs()));
            assert_eq!(here, there, "seed {seed}");
            let stored = &server.engine.keys.dbs()[0].dict;
            assert!(
                stored.iter().all(|e| e.value.as_list().is_ok_and(|list| !list.is_empty())
                    || e.value.as_str().is_ok()),
                "an empty list was left"
            );
        }
    }
}
