//! The golden scripts of `commands/` on every target; see `README.md` for the language.
//!
//! One test per target and directory. `CAIRN_GOLDEN_BLESS=1` records instead of comparing, `CAIRN_GOLDEN_FILTER`
//! runs only scripts whose path contains it, `CAIRN_TEST_ADDR` names a running server to use in place of a
//! `cairn-server` of our own: all three are set by `cargo xtask golden`.

use cairn_tests::golden::{self, InProcess, Source, Target, Tcp};
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
    strings bitmap hyperloglog keys hash list set zset geo stream pubsub transactions scripting connection
    cluster;
    servers:
    strings bitmap hyperloglog keys hash list set zset geo stream pubsub transactions scripting connection cluster
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

/// Commands of Redis that have a script and that Cairn does not have. Their scripts run on Redis only, ready for
/// whoever adds the command.
const ABSENT: &[&str] = &["lcs", "sort", "sort_ro", "swapdb"];

#[test]
fn absent_commands_are_absent() {
    let table = cairn_engine::command::table();
    let found: Vec<_> = ABSENT.iter().filter(|name| table.find(name.as_bytes()).is_some()).collect();
    assert!(found.is_empty(), "take {found:?} out of ABSENT: there they are");
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

fn run(group: &str, target: &mut dyn Target, source: Source) {
    let filter = std::env::var("CAIRN_GOLDEN_FILTER").unwrap_or_default();
    let scripts = golden::scripts_in(&commands_dir().join(group)).unwrap();
    assert!(!scripts.is_empty(), "no scripts in commands/{group}");
    let mut failures = String::new();
    for script in scripts.iter().filter(|script| script.to_string_lossy().contains(&filter)) {
        let command = script.file_stem().unwrap().to_string_lossy();
        if source == Source::Cairn && ABSENT.contains(&command.as_ref()) {
            continue;
        }
        let result = match blessing() {
            true => golden::bless(script, target, source),
            false => golden::check(script, target, source),
        };
        if let Err(error) = result {
            failures += &format!("{group}/{}: {error:#}\n", script.file_name().unwrap().display());
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn blessing() -> bool {
    std::env::var_os("CAIRN_GOLDEN_BLESS").is_some_and(|value| value == "1")
}

fn commands_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("commands")
}
