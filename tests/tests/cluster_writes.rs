//! Every command that writes, executed on a cluster of real nodes: they end with the same state, and keep it across a
//! restart, in a snapshot that is installed, and when another node leads.
//!
//! The commands are those of the golden scripts, of which every command has one; that each of the table's write commands was
//! executed with success is counted by the leader itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use cairn_engine::command::{Flag, table};
use cairn_tests::cluster::group::{Cluster, Plan, SETTLE_LIMIT};
use cairn_tests::golden::{self, ALONE, Protocol, Reply, Tcp};
use cairn_tests::server::Connection;

const LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at what is to become so.
const POLL: Duration = Duration::from_millis(20);
const DATABASES: usize = 16;

/// Nobody is to take over only because the machine is busy: the scripts go to the leader that there is.
const UNHURRIED: &str = "10000";
/// When a leader is killed its successor is waited for.
const BRISK: &str = "1000";

/// Write commands that never write, and why.
const NEVER: &[(&str, &str)] = &[("migrate", "it does not connect to other servers")];

/// Commands that change state, or say so to others, without the flag of a write command.
const BESIDES: &[&str] = &[
    "acl|deluser",
    "acl|setuser",
    "eval",
    "evalsha",
    "exec",
    "fcall",
    "pfcount",
    "publish",
    "script|flush",
    "script|load",
    "spublish",
];

/// A key that a script has left, and lasts.
struct Kept {
    name: Vec<u8>,
    payload: Vec<u8>,
    expire_at_ms: i64,
}

#[test]
fn every_write_command_leaves_all_nodes_alike() {
    let flags = &["--cluster-node-timeout", UNHURRIED, "--appendfsync", "no"];
    let small_log = &["--log-segment-size", "1mb", "--log-retention-size", "0"];
    let flags = &[&flags[..], small_log].concat();
    let mut cluster = Cluster::start(&Plan { flags, ..Plan::default() }).unwrap();
    cluster
        .explained(|cluster| {
            let (kept, successes) = play_all(cluster)?;
            println!("{} commands with success, {} keys kept", successes.len(), kept.len());
            let missing = not_executed(&successes);
            ensure!(missing.is_empty(), "no script executes with success: {missing:?}");
            let state = leave_behind(cluster, &kept)?;
            for node in &mut cluster.nodes {
                let flag = node.flags.iter_mut().find(|flag| *flag == UNHURRIED).context("it was given")?;
                *flag = BRISK.to_owned();
            }
            cluster.restart_all()?;
            expect_state(cluster, &state).context("after a restart of all")?;
            cluster.lose_a_disk(|_| Ok(()))?;
            expect_state(cluster, &state).context("after a snapshot was installed")?;
            cluster.fail_over()?;
            expect_state(cluster, &state).context("after a failover")
        })
        .unwrap();
}

#[test]
fn a_write_command_without_success_is_named() {
    let mut successes: BTreeMap<String, u64> =
        table().entries().iter().map(|entry| (entry.full_name.clone(), 1)).collect();
    assert!(not_executed(&successes).is_empty());
    for name in ["set", "xgroup|create", "acl|setuser"] {
        successes.remove(name);
        assert_eq!(not_executed(&successes), [name]);
        successes.insert(name.to_owned(), 1);
    }
}

/// Plays every script, through the leader and through a follower in turn; all nodes must be alike after each. What the
/// scripts have left, and how often commands were executed with success.
fn play_all(cluster: &mut Cluster) -> anyhow::Result<(Vec<Kept>, BTreeMap<String, u64>)> {
    let leader = cluster.leader().context("a cluster has a leader")?;
    let through = |node: usize| {
        let others: Vec<_> = cluster.nodes.iter().filter(|n| n.number != node).map(|n| n.addr).collect();
        Tcp::through(cluster.nodes[node].addr, &others, cluster.nodes[leader].addr)
    };
    let mut targets = [through(leader)?, through((leader + 1) % 3)?];
    let mut control = cluster.directory().connect(leader, LIMIT)?;
    let (mut kept, mut successes) = (Vec::new(), BTreeMap::new());
    for (at, (name, path)) in scripts()?.into_iter().enumerate() {
        let target = &mut targets[at % 2];
        let protocol = if at % 4 < 2 { Protocol::Resp2 } else { Protocol::Resp3 };
        golden::replay(&path, target, protocol).with_context(|| name.clone())?;
        target.hang_up();
        add_successes(&mut control, &mut successes)?;
        cluster.await_alike(LIMIT).with_context(|| name.clone())?;
        keep(&mut control, &name, &mut kept).with_context(|| name.clone())?;
    }
    Ok((kept, successes))
}

/// Names and paths of the scripts that a cluster can be sent.
fn scripts() -> anyhow::Result<Vec<(String, std::path::PathBuf)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("commands");
    let mut scripts = Vec::new();
    for group in std::fs::read_dir(&root)? {
        for path in golden::scripts_in(&group?.path())? {
            let name = path.with_extension("").strip_prefix(&root)?.display().to_string();
            if !ALONE.iter().any(|(alone, _)| name.starts_with(alone)) {
                scripts.push((name, path));
            }
        }
    }
    scripts.sort();
    Ok(scripts)
}

/// The write commands, and others that change state, that were never executed with success.
fn not_executed(successes: &BTreeMap<String, u64>) -> Vec<&str> {
    let writes = table().entries().iter().filter(|entry| entry.flags.has(Flag::Write));
    let names = writes.map(|entry| entry.full_name.as_str()).chain(BESIDES.iter().copied());
    let excused = |name: &str| NEVER.iter().any(|(never, _)| *never == name);
    names.filter(|name| !excused(name) && !successes.contains_key(*name)).collect()
}

/// Adds what INFO has counted since the script began.
fn add_successes(control: &mut Connection, successes: &mut BTreeMap<String, u64>) -> anyhow::Result<()> {
    let text = text(control.call(&["INFO", "commandstats"], LIMIT)?)?;
    for line in text.lines() {
        let Some((name, figures)) = line.strip_prefix("cmdstat_").and_then(|line| line.split_once(':'))
        else {
            continue;
        };
        let figure = |wanted: &str| -> anyhow::Result<u64> {
            let mut pairs = figures.split(',').filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.find(|(key, _)| *key == wanted).with_context(|| line.to_owned())?;
            Ok(value.parse()?)
        };
        let succeeded = figure("calls")? - figure("failed_calls")?;
        if succeeded > 0 {
            *successes.entry(name.to_owned()).or_default() += succeeded;
        }
    }
    Ok(())
}

/// Keeps the keys of all databases, but for those of which something expires while the test runs.
fn keep(control: &mut Connection, script: &str, kept: &mut Vec<Kept>) -> anyhow::Result<()> {
    for db in 0..DATABASES {
        control.call(&["SELECT", &db.to_string()], LIMIT)?;
        for key in strings(control.call(&["KEYS", "*"], LIMIT)?)? {
            let expire_at_ms = match ask(control, &[b"PEXPIRETIME", &key])? {
                Reply::Integer(at) => at,
                other => bail!("PEXPIRETIME answers {other}"),
            };
            let Reply::Bulk(payload) = ask(control, &[b"DUMP", &key])? else { continue };
            if lasts(control, &key)? {
                let name = [format!("{script}:{db}:").as_bytes(), &key].concat();
                kept.push(Kept { name, payload, expire_at_ms });
            }
        }
    }
    control.call(&["SELECT", "0"], LIMIT)?;
    Ok(())
}

/// Does neither the key nor, if it is a hash, any of its fields expire soon?
fn lasts(control: &mut Connection, key: &[u8]) -> anyhow::Result<bool> {
    const SOON_MS: i64 = 600_000;
    let long = |ttl: &Reply| matches!(ttl, Reply::Integer(ms) if *ms == -1 || *ms > SOON_MS);
    if !long(&ask(control, &[b"PTTL", key])?) {
        return Ok(false);
    }
    if ask(control, &[b"TYPE", key])? != Reply::Simple(b"hash".to_vec()) {
        return Ok(true);
    }
    let fields = strings(ask(control, &[b"HKEYS", key])?)?;
    let count = fields.len().to_string();
    let mut command: Vec<&[u8]> = vec![b"HPTTL", key, b"FIELDS", count.as_bytes()];
    command.extend(fields.iter().map(Vec::as_slice));
    match ask(control, &command)? {
        Reply::Array(times) => Ok(times.iter().all(long)),
        // It was gone before all was asked.
        _ => Ok(false),
    }
}

/// Brings everything that was kept back at once, besides a library, a user and an index: the state that is to last.
fn leave_behind(cluster: &mut Cluster, kept: &[Kept]) -> anyhow::Result<String> {
    const LIBRARY: &str =
        "#!lua name=lasting\nserver.register_function('lasting', function() return 'here' end)";
    let leader = cluster.await_leader(SETTLE_LIMIT)?;
    let mut client = cluster.directory().connect((leader + 1) % 3, LIMIT)?;
    for command in [
        &["FLUSHALL"][..],
        &["SET", "probe", "1"],
        &["HSET", "lasting:1", "name", "older than the index"],
        &["FT.CREATE", "lasting", "PREFIX", "1", "lasting:", "SCHEMA", "name", "TEXT"],
        &["HSET", "lasting:2", "name", "younger"],
        &["FT.ALIASADD", "durable", "lasting"],
        &["FUNCTION", "LOAD", "REPLACE", LIBRARY],
        &["ACL", "SETUSER", "lasting", "on", ">secret", "~a*", "(~b* +get)", "+@read"],
    ] {
        let reply = client.call(command, LIMIT)?;
        ensure!(!matches!(reply, Reply::Error(_)), "{command:?}: {reply}");
    }
    ensure!(kept.len() > 200, "the scripts have left little: {}", kept.len());
    for Kept { name, payload, expire_at_ms } in kept {
        let at = (*expire_at_ms).max(0).to_string();
        let reply = ask(&mut client, &[b"RESTORE", name, at.as_bytes(), payload, b"ABSTTL"])?;
        ensure!(reply == Reply::Simple(b"OK".to_vec()), "RESTORE of {}: {reply}", name.escape_ascii());
    }
    cluster.await_alike(LIMIT)
}

/// All nodes have this state, and what is no data works.
fn expect_state(cluster: &mut Cluster, state: &str) -> anyhow::Result<()> {
    let found = cluster.await_alike(LIMIT)?;
    ensure!(found == state, "the state was {state} and is {found}");
    for node in 0..3 {
        let called = cluster.ask(node, &["FCALL", "lasting", "0"])?;
        ensure!(called == Reply::Bulk(b"here".to_vec()), "node {node}: FCALL answers {called}");
        let entered = cluster.ask(node, &["AUTH", "lasting", "secret"])?;
        ensure!(entered == Reply::Simple(b"OK".to_vec()), "node {node}: AUTH answers {entered}");
        expect_index(cluster, node).with_context(|| format!("node {node}: its index"))?;
    }
    Ok(())
}

/// The node's own index is built again, with both keys.
fn expect_index(cluster: &Cluster, node: usize) -> anyhow::Result<()> {
    let mut client = cluster.directory().connect(node, LIMIT)?;
    client.call(&["READONLY"], LIMIT)?;
    let deadline = Instant::now() + LIMIT;
    loop {
        let Reply::Array(info) = client.call(&["FT.INFO", "durable"], LIMIT)? else {
            bail!("FT.INFO answers no array")
        };
        let figure = |name: &str| {
            let mut pairs = info.chunks(2).filter(|pair| pair[0] == Reply::Simple(name.as_bytes().to_vec()));
            pairs.next().and_then(|pair| pair.get(1)).cloned().with_context(|| format!("no {name}"))
        };
        let (docs, indexing) = (figure("num_docs")?, figure("indexing")?);
        if indexing == Reply::Integer(0) {
            ensure!(docs == Reply::Integer(2), "{docs} documents");
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "it is never complete");
        std::thread::sleep(POLL);
    }
}

fn ask(client: &mut Connection, command: &[&[u8]]) -> anyhow::Result<Reply> {
    client.send(&command.iter().map(|word| word.to_vec()).collect::<Vec<_>>())?;
    client.reply(LIMIT)
}

fn strings(reply: Reply) -> anyhow::Result<Vec<Vec<u8>>> {
    let Reply::Array(items) = reply else { bail!("not an array: {reply}") };
    let string = |item| match item {
        Reply::Bulk(bytes) => Ok(bytes),
        other => bail!("not a string: {other}"),
    };
    items.into_iter().map(string).collect()
}

fn text(reply: Reply) -> anyhow::Result<String> {
    match reply {
        Reply::Bulk(text) | Reply::Verbatim(_, text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        other => bail!("not a text: {other}"),
    }
}
