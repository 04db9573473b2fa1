//! The properties, over random commands of all families together.

use std::collections::BTreeSet;
use std::sync::Arc;

use cairn_proto::Resp;

use super::{FAMILIES, one_in};
use crate::command::{Flag, table};
use crate::config::Config;
use crate::digest;
use crate::engine::Engine;
use crate::keyspace::{Db, KeyEntry};
use crate::rdb;
use crate::rng::Rng;
use crate::scripting::LibraryCounts;
use crate::search::document;
use crate::testing::TestEngine;
use crate::value::Value;

/// Commands of one run; the digests are compared every so many.
const COMMANDS: usize = 4_000;
const COMPARED_EVERY: usize = 250;

/// Runs that `cargo nextest` does; `CAIRN_PROPERTY_SEEDS=n` does more.
fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("CAIRN_PROPERTY_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    1..count + 1
}

/// Everything of the databases that must be equal.
#[derive(Debug, PartialEq)]
struct State {
    digest: digest::Digest,
    /// With what Redis leaves out of it, the graphs of vector sets among that.
    whole: digest::Digest,
    expires: Vec<(Vec<u8>, i64)>,
    field_times: Vec<(Vec<u8>, Vec<u8>, i64)>,
    /// What Redis leaves out of the digest: ids, groups, pending entries.
    streams: Vec<(Vec<u8>, String)>,
    /// The texts of the libraries, and how much is loaded of them.
    libraries: (Vec<Arc<[u8]>>, LibraryCounts),
    users: Option<String>,
    indexes: Option<String>,
}

/// A node of a cluster, whose users are part of the state, and may be kept in a file.
fn engine(seed: u64) -> TestEngine {
    let config = Config { cluster_enabled: true, aclfile: "users.acl".to_owned(), ..Config::default() };
    TestEngine::with_config(config, seed)
}

fn state(engine: &Engine) -> State {
    let dbs = engine.keys.dbs();
    State {
        digest: digest::keyspace(dbs),
        whole: digest::state(dbs, &[], None, None),
        expires: dbs.iter().flat_map(expires).collect(),
        field_times: dbs.iter().flat_map(field_times).collect(),
        streams: dbs.iter().flat_map(streams).collect(),
        libraries: (engine.functions().codes(), engine.functions().counts()),
        users: engine.shared.acl.snapshot(),
        indexes: engine.shared.search.to_text(),
    }
}

fn streams(db: &Db) -> Vec<(Vec<u8>, String)> {
    let streams = db.dict.iter().filter_map(|entry| match &entry.value {
        Value::Stream(stream) => Some((entry.key.to_vec(), stream.state_text())),
        _ => None,
    });
    let mut all: Vec<_> = streams.collect();
    all.sort();
    all
}

fn expires(db: &Db) -> Vec<(Vec<u8>, i64)> {
    let mut all: Vec<_> = db.expires.iter().map(|entry| (entry.key.to_vec(), entry.at_ms)).collect();
    all.sort();
    all
}

/// Key, field and time. On the way: every hash that has times is known with its next one, and no other key is.
fn field_times(db: &Db) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
    let mut all = Vec::new();
    let mut hashes = 0;
    for entry in db.dict.iter() {
        let times = match &entry.value {
            Value::Hash(hash) => hash.times(),
            _ => None,
        };
        assert_eq!(
            db.field_expiries.get(&entry.key),
            times.and_then(|times| times.first()).map(|(at_ms, _)| at_ms),
            "{}",
            entry.key.escape_ascii()
        );
        hashes += usize::from(times.is_some());
        let times = times.into_iter().flat_map(|times| times.iter());
        all.extend(times.map(|(at_ms, field)| (entry.key.to_vec(), field.to_vec(), at_ms)));
    }
    assert_eq!(db.field_expiries.len(), hashes);
    all.sort();
    all
}

/// What differs, for whoever has to find out why.
fn difference(a: &Engine, b: &Engine) -> String {
    let mut lines = Vec::new();
    for (index, (left, right)) in a.keys.dbs().iter().zip(b.keys.dbs()).enumerate() {
        for entry in left.dict.iter() {
            let key = entry.key.escape_ascii().to_string();
            match right.dict.get(&entry.key) {
                None => lines.push(format!("db {index}: {key} is missing")),
                Some(other)
                    if digest::value(&entry.value, None) != digest::value(&other.value, None)
                        || left.expire_at(&entry.key) != right.expire_at(&entry.key) =>
                {
                    lines.push(format!(
                        "db {index}: {key} differs: {} {:?}",
                        entry.value.kind().name(),
                        entry.value
                    ));
                    lines.push(format!("      instead: {} {:?}", other.value.kind().name(), other.value));
                }
                Some(_) => {}
            }
        }
        for entry in right.dict.iter().filter(|entry| !left.dict.contains(&entry.key)) {
            lines.push(format!("db {index}: {} should not be there", entry.key.escape_ascii()));
        }
    }
    if a.functions().codes() != b.functions().codes() {
        lines.push(format!("libraries differ: {:?} instead of {:?}", a.functions(), b.functions()));
    }
    let (left, right) = (a.shared.acl.snapshot(), b.shared.acl.snapshot());
    if left != right {
        lines.push(format!("users differ: {left:?} instead of {right:?}"));
    }
    let (left, right) = (a.shared.search.to_text(), b.shared.search.to_text());
    if left != right {
        lines.push(format!("indexes differ: {left:?} instead of {right:?}"));
    }
    lines.join("\n")
}

/// A unit of one client: a command, a MULTI, or a script.
fn run_unit(server: &mut TestEngine, clients: &[usize], rng: &Rng, trace: &mut Vec<String>) {
    let command = || {
        let family = FAMILIES[rng.below(FAMILIES.len() as u64) as usize];
        family(rng)
    };
    let mut send = |server: &mut TestEngine, slot: usize, words: Vec<Vec<u8>>| {
        trace.push(words.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" "));
        let slices: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        server.send(slot, &slices);
    };
    let slot = clients[rng.below(clients.len() as u64) as usize];
    if !server.engine.accepts_commands(slot) {
        // It waits for data, and its host would not hand the next command over: it gives up.
        server.engine.unblock(slot);
    }
    match rng.below(20) {
        0 => {
            send(server, slot, vec![b"MULTI".to_vec()]);
            for _ in 0..rng.below(5) {
                send(server, slot, command());
            }
            send(server, slot, vec![b"EXEC".to_vec()]);
        }
        1 => {
            let mut words = command();
            let script = b"return redis.pcall(unpack(ARGV))".to_vec();
            let mut eval = vec![b"EVAL".to_vec(), script, b"0".to_vec()];
            eval.append(&mut words);
            send(server, slot, eval);
        }
        _ => send(server, slot, command()),
    }
    if one_in(rng, 8) {
        server.advance(rng.below(40) as i64);
    }
}

#[test]
fn applying_the_effects_leads_to_the_same_state_as_executing() {
    for seed in seeds() {
        let rng = Rng::new(seed);
        let mut server = engine(seed);
        let clients: Vec<_> = (0..4).map(|_| server.connect(Resp::V2)).collect();
        let mut replica = server.replica();
        let mut applied = 0;
        let mut trace = Vec::new();
        for i in 1..=COMMANDS {
            run_unit(&mut server, &clients, &rng, &mut trace);
            if !i.is_multiple_of(COMPARED_EVERY) {
                continue;
            }
            for batch in &server.batches[applied..] {
                let outcome = replica.engine.apply(&mut replica.host, &batch.payload);
                outcome.unwrap_or_else(|error| panic!("seed {seed}: {error}; last: {:#?}", last(&trace)));
            }
            applied = server.batches.len();
            for engine in [&mut server, &mut replica] {
                assert_indexes_are_complete(
                    engine,
                    &format!("seed {seed}, command {i}: {:#?}", last(&trace)),
                );
            }
            assert!(
                state(&server.engine) == state(&replica.engine),
                "seed {seed}, command {i}:\n{}\nlast commands: {:#?}",
                difference(&server.engine, &replica.engine),
                last(&trace)
            );
        }
        assert!(applied > COMMANDS / 10, "seed {seed}: many commands change something: {applied}");
    }
}

#[test]
fn a_snapshot_loads_into_the_same_state() {
    for seed in seeds() {
        let rng = Rng::new(seed + 1_000);
        let mut server = engine(seed);
        let clients: Vec<_> = (0..4).map(|_| server.connect(Resp::V2)).collect();
        let mut trace = Vec::new();
        for i in 1..=COMMANDS {
            run_unit(&mut server, &clients, &rng, &mut trace);
            if !i.is_multiple_of(COMPARED_EVERY) {
                continue;
            }
            // The snapshot is written while the state goes on changing.
            let before = state(&server.engine);
            let snapshot = server.engine.snapshot();
            for _ in 0..20 {
                run_unit(&mut server, &clients, &rng, &mut trace);
            }
            let mut bytes = Vec::new();
            rdb::save(snapshot, &rdb::Aux::default(), one_in(&rng, 2), &mut bytes).expect("memory takes it");
            let mut fresh = server.engine.empty_copy();
            let options = rdb::LoadOptions {
                databases: fresh.keys.dbs().len(),
                seed: fresh.keys.seed(),
                config: &server.engine.shared.config,
            };
            let loaded = rdb::load(&bytes, &options, &mut |_, _| {})
                .unwrap_or_else(|error| panic!("seed {seed}, command {i}: {error}"));
            fresh.restore(loaded.dbs, loaded.functions, 0, 0);
            fresh.restore_users(loaded.aux.users.as_deref()).expect("users of our own");
            fresh.restore_indexes(loaded.aux.indexes.as_deref()).expect("indexes of our own");
            assert!(state(&fresh) == before, "seed {seed}, command {i}: last commands: {:#?}", last(&trace));
        }
    }
}

/// A property of all commands that write is tried with all of them.
#[test]
fn every_write_command_is_made_by_some_family_and_writes() {
    const ROUNDS_MAX: usize = 6_000;
    /// Of one family in the main, so that types do not get into each other's way.
    const COMMANDS_OF_ROUND: usize = 100;
    /// It refuses: the server does not connect to others.
    const NEVER: &str = "migrate";
    let writes = table().entries().iter().filter(|entry| entry.flags.has(Flag::Write));
    let mut missing: BTreeSet<&str> = writes.map(|entry| entry.full_name.as_str()).collect();
    missing.extend(["acl|deluser", "acl|load", "acl|setuser", "eval", "fcall"]);
    assert!(missing.remove(NEVER), "{NEVER} is not in the table");
    let rng = Rng::new(3_000);
    let mut server = engine(1);
    let client = server.connect(Resp::V2);
    let some_family = || FAMILIES[rng.below(FAMILIES.len() as u64) as usize];
    let mut family = some_family();
    for at in 0..ROUNDS_MAX * COMMANDS_OF_ROUND {
        if at % COMMANDS_OF_ROUND == 0 {
            server.run(client, "FLUSHALL");
            family = some_family();
        }
        let words = if one_in(&rng, 8) { some_family()(&rng) } else { family(&rng) };
        let slices: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let Ok(entry) = crate::dispatch::find(crate::args::Args::new(&slices)) else { continue };
        if entry.full_name == "multi" {
            // What is queued would be counted as EXEC's.
            continue;
        }
        if !server.engine.accepts_commands(client) {
            server.engine.unblock(client);
        }
        // The clock stands still: nothing expires, so that what is written is the command's.
        let before = server.batches.len();
        server.send(client, &slices);
        if server.batches.len() > before {
            missing.remove(entry.full_name.as_str());
        }
        if missing.is_empty() {
            return;
        }
    }
    panic!("no family makes these write: {missing:?}");
}

/// Every key that an effect names is dirty until the effect is released, so that nobody reads what could still be lost;
/// and nothing is dirty without an effect, or reads of it would wait for a batch that never comes.
#[test]
fn reads_wait_for_what_the_effects_change_and_for_nothing_else() {
    for seed in seeds() {
        let rng = Rng::new(seed + 2_000);
        let mut server = engine(seed);
        let client = server.connect(Resp::V2);
        for _ in 0..COMMANDS {
            let family = FAMILIES[rng.below(FAMILIES.len() as u64) as usize];
            let words = family(&rng);
            let slices: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let line = words.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" ");
            if !server.engine.accepts_commands(client) {
                server.engine.unblock(client);
            }
            let before = server.batches.len();
            server.send_held(client, &slices);
            let new = server.batches.split_off(before);
            for batch in &new {
                let mut effects = crate::effects::effects(&batch.payload).expect("a batch of our own");
                let mut argv = Vec::new();
                let mut only_counts = true;
                while let Some(db) = effects.next(&mut argv).expect("a batch of our own") {
                    only_counts &= matches!(argv[..], [b"SETRANGE", _, b"8", count] if count.len() == 8);
                    assert_dirty(&mut server, db, &argv, batch.seq, &format!("seed {seed}: {line}"));
                }
                // What PFCOUNT writes down is only that it has counted.
                let sent = server.output(client);
                assert!(only_counts || sent.is_empty(), "seed {seed}: {line}: {}", sent.escape_ascii());
            }
            server.batches.extend(new);
            server.release();
            assert!(server.engine.shared.dirty_keys.is_clean(), "seed {seed}: {line}");
            server.output(client);
            let state = &server.engine.client(client).expect("it is there").state;
            assert!(state.holds.is_empty(), "seed {seed}: {line}: {:?}", state.holds);
            if one_in(&rng, 8) {
                server.advance(rng.below(40) as i64);
                server.release();
                server.output(client);
            }
        }
    }
}

fn assert_dirty(server: &mut TestEngine, db: usize, argv: &[&[u8]], seq: u64, line: &str) {
    let args = crate::args::Args::new(argv);
    let command = crate::dispatch::find(args).expect("an effect is a command");
    if command.full_name == "copy" {
        // Its destination may be in another database.
        return;
    }
    let mut positions = Vec::new();
    for keys in command.spec.keys.iter().filter(|keys| keys.access.mode != "RO") {
        keys.positions(args, &mut positions);
    }
    let shared = &server.engine.shared;
    let is_dirty = |&at: &usize| {
        let hash = crate::keyspace::dirty::DirtyKeys::hash(shared.seed, db, argv[at]);
        shared.dirty_keys.position(hash) == seq
    };
    let holds = match command.full_name.as_str() {
        // Some of these may not have been there.
        "del" | "unlink" => positions.iter().any(is_dirty),
        _ => positions.iter().all(is_dirty),
    };
    assert!(
        holds,
        "{line}: effect {:?}",
        argv.iter().map(|arg| arg.escape_ascii().to_string()).collect::<Vec<_>>()
    );
}

/// When they are built, all indexes have what they would have been given now.
fn assert_indexes_are_complete(server: &mut TestEngine, line: &str) {
    while server.engine.build_indexes(&server.host, 1_000_000) {}
    let keys = &server.engine.keys.dbs()[0].dict;
    for entry in server.engine.shared.search.indexes() {
        let definition = &entry.definition;
        let taken = |key: &KeyEntry| {
            definition.covers(&key.key) && matches!(document::read(definition, &key.value), Ok(Some(_)))
        };
        let expected: BTreeSet<&[u8]> = keys.iter().filter(|key| taken(key)).map(|key| &*key.key).collect();
        let found: BTreeSet<&[u8]> = entry.index.keys().collect();
        let name = definition.name.escape_ascii();
        // One that has not looked at what was there before may have less.
        assert!(
            found == expected || definition.skip_initial_scan && found.is_subset(&expected),
            "{line}\n{name}: {found:?} instead of {expected:?}"
        );
    }
}

fn last(trace: &[String]) -> &[String] {
    &trace[trace.len().saturating_sub(COMPARED_EVERY.min(60))..]
}
