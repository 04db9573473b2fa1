//! Random commands on sets.

use super::{key, one_in, pick};
use crate::rng::Rng;

const NAMES: &[&str] = &[
    "SADD",
    "SADD",
    "SADD",
    "SADD",
    "SREM",
    "SREM",
    "SMOVE",
    "SPOP",
    "SPOP",
    "SRANDMEMBER",
    "SISMEMBER",
    "SMISMEMBER",
    "SMEMBERS",
    "SCARD",
    "SINTER",
    "SUNION",
    "SDIFF",
    "SINTERCARD",
    "SINTERSTORE",
    "SUNIONSTORE",
    "SDIFFSTORE",
    "SSCAN",
];

/// A command, sometimes a wrong one.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    let name = pick(rng, NAMES);
    let mut argv = vec![name.as_bytes().to_vec()];
    if name != "SINTERCARD" {
        argv.push(key(rng));
    }
    match name {
        "SADD" | "SREM" | "SMISMEMBER" => {
            let only_integers = one_in(rng, 2);
            argv.extend((0..=rng.below(8)).map(|_| member(rng, only_integers)));
        }
        "SISMEMBER" => argv.push(member(rng, false)),
        "SMOVE" => argv.extend([key(rng), member(rng, false)]),
        "SPOP" | "SRANDMEMBER" => {
            argv.extend(
                pick(rng, &["", "1", "3", "12", "-4", "0", "x"]).split_terminator(' ').map(Vec::from),
            );
        }
        "SINTER" | "SUNION" | "SDIFF" | "SINTERSTORE" | "SUNIONSTORE" | "SDIFFSTORE" => {
            argv.extend((0..=rng.below(3)).map(|_| key(rng)));
        }
        "SINTERCARD" => {
            let keys = 1 + rng.below(3);
            argv.push(keys.to_string().into_bytes());
            argv.extend((0..keys).map(|_| key(rng)));
            argv.extend(pick(rng, &["", "LIMIT 2", "LIMIT -1"]).split_terminator(' ').map(Vec::from));
        }
        "SSCAN" => argv
            .extend(pick(rng, &["0", "0 COUNT 2", "0 MATCH 1*", "x", "0 LIMIT 1"]).split(' ').map(Vec::from)),
        _ => {}
    }
    if one_in(rng, 30) {
        argv.push(member(rng, false));
    }
    argv
}

fn member(rng: &Rng, only_integers: bool) -> Vec<u8> {
    match rng.below(40) {
        0 => vec![b'm'; rng.below(200) as usize],
        1 => (rng.next() as i64).to_string().into_bytes(),
        2..10 if !only_integers => format!("m{}", rng.below(30)).into_bytes(),
        _ => (rng.below(60) as i64 - 20).to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cairn_proto::Resp;

    use super::*;
    use crate::config::Config;
    use crate::testing::TestEngine;
    use crate::value::Value;

    /// Type and elements of every key.
    fn contents(server: &TestEngine) -> BTreeMap<Vec<u8>, (&'static str, Vec<Vec<u8>>)> {
        let db = &server.engine.keys.dbs()[0];
        let elements = |value: &Value| match value {
            Value::Str(text) => vec![text.to_vec()],
            Value::Set(set) => {
                let mut members: Vec<_> = set.iter().map(|member| member.to_vec()).collect();
                members.sort();
                members
            }
            Value::Hash(hash) => {
                let mut pairs: Vec<_> =
                    hash.iter().map(|(field, value)| [field.to_vec(), value.to_vec()].concat()).collect();
                pairs.sort();
                pairs
            }
            other => panic!("a {} made by commands of other families", other.kind().name()),
        };
        let entries = db.dict.iter();
        entries.map(|e| (e.key.to_vec(), (e.value.kind().name(), elements(&e.value)))).collect()
    }

    #[test]
    fn effects_rebuild_hashes_and_sets() {
        for seed in 0..40 {
            let rng = Rng::new(seed);
            let config = Config {
                hash_max_listpack_entries: 6,
                set_max_intset_entries: 8,
                set_max_listpack_entries: 5,
                ..Config::default()
            };
            let mut server = TestEngine::with_config(config, seed);
            let client = server.connect(if seed % 2 == 0 { Resp::V2 } else { Resp::V3 });
            for _ in 0..400 {
                let command = match rng.below(40) {
                    0 => super::super::words(&rng, "SET K 5"),
                    1..20 => crate::property::hash::random_command(&rng),
                    _ => random_command(&rng),
                };
                let args: Vec<&[u8]> = command.iter().map(|arg| &arg[..]).collect();
                let before = server.engine.shared.effects.newest_seq();
                let state = contents(&server);
                server.send(client, &args);
                if server.engine.shared.effects.newest_seq() == before {
                    assert_eq!(state, contents(&server), "{command:?} changed something and did not say so");
                }
            }
            let replica = server.replica();
            assert_eq!(contents(&server), contents(&replica), "seed {seed}");
            let stored = &server.engine.keys.dbs()[0].dict;
            assert!(
                stored.iter().all(|e| !contents(&server)[&*e.key].1.is_empty()),
                "an empty value was left"
            );
        }
    }
}
