//! The golden scripts of `commands/` on every target; see `README.md` for the language.
//!
//! One test per target and directory. `CAIRN_GOLDEN_BLESS=1` records instead of comparing, `CAIRN_GOLDEN_FILTER`
//! runs only scripts whose path contains it, `CAIRN_TEST_ADDR` names a running server to use in place of a
//! `cairn-server` of our own, and with `CAIRN_GOLDEN_ALL=1` a follower is sent all scripts, not some of each family.
//! `cargo xtask golden` passes them on or sets them.

use anyhow::Context;
use cairn_tests::cluster::group::{Cluster, Plan, SETTLE_LIMIT};
use cairn_tests::golden::{self, ALONE, InProcess, Source, Target, Tcp};
use cairn_tests::server::Server;
use std::fs::File;
use std::path::{Path, PathBuf};

macro_rules! groups {
    (engine: $($engine:ident)*; servers: $($group:ident)*) => {
        const GROUPS: &[&str] = &[$(stringify!($group)),*];
        mod engine { $(#[test] fn $engine() { super::on_engine(stringify!($engine)) })* }
        mod cairn { $(#[test] fn $group() { super::on_cairn(stringify!($group)) })* }
        mod redis { $(#[test] fn $group() { super::on_redis(stringify!($group)) })* }
    };
}

// The engine alone has no protocol to speak and no files to save to.
groups! {
    engine:
    strings bitmap hyperloglog keys hash list set zset geo json search vectorset stream pubsub transactions scripting connection acl
    cluster;
    servers:
    strings bitmap hyperloglog keys hash list set zset geo json search vectorset stream pubsub transactions scripting connection acl cluster
    server protocol
}

#[test]
fn every_directory_of_scripts_is_tested() {
    let mut directories: Vec<String> = std::fs::read_dir(commands_dir())
        .expect("commands/ lies beside this crate's Cargo.toml")
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    directories.sort();
    let mut groups = GROUPS.to_vec();
    groups.sort();
    assert_eq!(directories, groups, "name the directory in groups! above");
}

#[test]
fn every_command_has_a_script() {
    let has_script = |name: &str| {
        let file = format!("{name}.gold");
        GROUPS.iter().any(|group| commands_dir().join(group).join(&file).exists())
    };
    let table = cairn_engine::command::table();
    let commands = table.entries().iter().filter(|entry| entry.parent.is_none()).map(|entry| entry.spec.name);
    let missing: Vec<_> = commands.filter(|name| !has_script(name)).collect();
    assert!(missing.is_empty(), "write commands/<group>/<command>.gold for {missing:?}, see README.md");
}

fn on_engine(group: &str) {
    run(group, &mut InProcess::new(), Source::Cairn);
}

fn on_cairn(group: &str) {
    let Ok(addr) = std::env::var("CAIRN_TEST_ADDR") else {
        let server = Server::cairn(&[]).unwrap();
        return run(group, &mut Tcp::connect(server.addr()).unwrap(), Source::Cairn);
    };
    // Tests run in parallel, but a script wants the server for itself.
    let lock = File::create(std::env::temp_dir().join(format!("cairn-golden-{}", addr.replace(':', "-"))));
    lock.as_ref().unwrap().lock().unwrap();
    run(group, &mut Tcp::connect(addr.parse().expect("CAIRN_TEST_ADDR is IP:PORT")).unwrap(), Source::Cairn);
}

fn on_redis(group: &str) {
    let (server, source) = Server::redis(&[]).unwrap();
    run(group, &mut Tcp::connect(server.addr()).unwrap(), source);
}

/// Blocks, one for each row, named by a text in them: a follower answers otherwise, for being another node than the leader.
/// Everything else in their scripts is as on a single node.
const OF_THE_NODE: &[(&str, &str, &str)] = &[
    ("connection/client", "CLIENT LIST ID {id2}", "subscriptions are the leader's to count"),
    ("connection/hello", "field/role", "it is a replica"),
    ("server/config", "CONFIG RESETSTAT", "keys are looked up by the leader"),
    ("server/info", "field/connected_slaves", "it is a replica, and its keys go when it hears of FLUSHALL"),
    ("server/info", "field/keyspace_hits", "keys are looked up by the leader"),
    ("server/latency", "LATENCY HISTOGRAM set", "SET and GET are the leader's to time"),
    ("server/replicaof", "NO ONE", "it follows the leader"),
    ("server/role", "ROLE x", "it is a replica"),
    ("server/save", "DEBUG RELOAD", "a cluster's snapshots wait for the log: DEBUG RELOAD wants NOSAVE"),
    ("server/slaveof", "NO ONE", "it follows the leader"),
    ("server/slowlog", "SLOWLOG LEN", "a script reads the log of the leader"),
    ("server/waitaof", "WAITAOF 0 0 0", "there are replicas"),
    ("server/waitaof", "WAITAOF 1 0 1000", "there are replicas"),
    ("stream/xreadgroup", "field/total_blocking_keys", "clients are blocked at the leader"),
];

/// What `cargo xtask verify` sends through a follower of the families whose commands are all alike there: they are passed on
/// as they are. Of the others, where sessions have a state of their own, it sends everything.
const FAMILIES_IN_BRIEF: &[(&str, &[&str])] = &[
    ("strings", &["append", "get", "set"]),
    ("bitmap", &["bitfield"]),
    ("hyperloglog", &["pfmerge"]),
    ("keys", &["copy", "expire", "flushall", "move", "restore", "scan", "select"]),
    ("hash", &["hgetall", "hscan", "hset"]),
    ("list", &["blmove", "blmpop", "blpop", "brpop", "brpoplpush", "lmove"]),
    ("set", &["sadd", "sinterstore", "spop"]),
    ("zset", &["bzmpop", "bzpopmax", "bzpopmin", "zadd", "zrange"]),
    ("geo", &["geosearch"]),
    ("json", &["json.arrpop", "json.del", "json.get", "json.merge", "json.numincrby", "json.set"]),
    ("vectorset", &["vadd", "vrem", "vsetattr", "vsim"]),
    ("search", &["ft.alter", "ft.create", "ft.dropindex", "ft.info", "ft.sugadd", "ft.sugget"]),
    ("stream", &["xadd", "xautoclaim", "xread", "xreadgroup"]),
];

mod forwarded {
    /// One cluster for all groups: to start it takes longer than most of them.
    #[test]
    fn every_group() {
        super::on_a_follower();
    }
}

fn on_a_follower() {
    let named = OF_THE_NODE.iter().map(|(script, ..)| script.to_string()).chain(
        FAMILIES_IN_BRIEF
            .iter()
            .flat_map(|(group, scripts)| scripts.iter().map(move |s| format!("{group}/{s}"))),
    );
    let missing: Vec<String> =
        named.filter(|name| !commands_dir().join(format!("{name}.gold")).exists()).collect();
    assert!(missing.is_empty(), "no such scripts: {missing:?}");

    // Nobody is to take over only because the machine is busy. What a crash would cost is no question here.
    let flags = &["--cluster-node-timeout", "10000", "--appendfsync", "no"];
    let mut cluster = Cluster::start(&Plan { flags, ..Plan::default() }).unwrap();
    let failures = cluster.explained(|cluster| {
        let leader = cluster.leader().context("a cluster has a leader")?;
        let follower = (leader + 1) % cluster.nodes.len();
        let others: Vec<_> = cluster.nodes.iter().filter(|n| n.number != follower).map(|n| n.addr).collect();
        let mut target = Tcp::through(cluster.nodes[follower].addr, &others, cluster.nodes[leader].addr)?;
        let failures: String = GROUPS.iter().map(|group| forwarded_failures(group, &mut target)).collect();
        // What a script did to one node alone shows here.
        cluster.await_equal_digests(SETTLE_LIMIT)?;
        Ok(failures)
    });
    let failures = failures.unwrap();
    assert!(failures.is_empty(), "\n{failures}");
}

fn forwarded_failures(group: &str, target: &mut Tcp) -> String {
    failures_of(group, |name, script| {
        if ALONE.iter().any(|(alone, _)| name.starts_with(alone)) || left_out_in_brief(name) {
            return Ok(());
        }
        let excused: Vec<&str> =
            OF_THE_NODE.iter().filter(|(script, ..)| *script == name).map(|(_, text, _)| *text).collect();
        golden::check(script, target, Source::Cairn, &excused)
    })
}

fn left_out_in_brief(name: &str) -> bool {
    let (group, command) = name.split_once('/').expect("a group's script");
    let in_brief = FAMILIES_IN_BRIEF.iter().find(|(family, _)| *family == group);
    let all = std::env::var_os("CAIRN_GOLDEN_ALL").is_some_and(|value| value == "1");
    !all && in_brief.is_some_and(|(_, scripts)| !scripts.contains(&command))
}

fn run(group: &str, target: &mut dyn Target, source: Source) {
    let failures = failures_of(group, |_, script| match blessing() {
        true => golden::bless(script, target, source),
        false => golden::check(script, target, source, &[]),
    });
    assert!(failures.is_empty(), "\n{failures}");
}

/// What `play` finds wrong with the scripts of a group, of which it is told the name and the path.
fn failures_of(group: &str, mut play: impl FnMut(&str, &Path) -> anyhow::Result<()>) -> String {
    let filter = std::env::var("CAIRN_GOLDEN_FILTER").unwrap_or_default();
    let scripts = golden::scripts_in(&commands_dir().join(group)).unwrap();
    assert!(!scripts.is_empty(), "no scripts in commands/{group}");
    let mut failures = String::new();
    for script in scripts.iter().filter(|script| script.to_string_lossy().contains(&filter)) {
        let command = script.file_stem().unwrap().to_string_lossy();
        if let Err(error) = play(&format!("{group}/{command}"), script) {
            failures += &format!("{group}/{}: {error:#}\n", script.file_name().unwrap().display());
        }
    }
    failures
}

fn blessing() -> bool {
    std::env::var_os("CAIRN_GOLDEN_BLESS").is_some_and(|value| value == "1")
}

fn commands_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("commands")
}
