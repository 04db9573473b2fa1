//! `cargo xtask planted`: every bug of the crate `planted`, and the tests that have to find it.
//!
//! A test counts as one that finds a bug when it passes without it, fails with it within its time, and says in its failure what
//! the bug does: one that fails for another reason has found nothing.

use crate::steps::{Steps, cargo};
use crate::tools;
use anyhow::{Context, ensure};
use cairn_planted::Bug;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a running test is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// What a test says that needs more than this machine has.
const SKIPPED: &str = "skipped: ";

/// A test that has to find a bug.
struct Finder {
    bug: Bug,
    binary: Binary,
    test: &'static str,
    /// Part of what it says when it fails for this reason.
    says: &'static str,
    /// It fails within so many seconds.
    budget_s: u64,
    /// It is repeated up to so often, with other seeds: what clients happen to do decides whether a round shows the bug.
    rounds: u64,
}

/// What the test is in.
#[derive(Clone, Copy)]
enum Binary {
    /// The unit tests of a crate's library.
    Unit(&'static str),
    /// A file of `tests/tests`.
    Whole(&'static str),
}

use Binary::{Unit, Whole};

const ENGINE: Binary = Unit("cairn_engine");
const REPLICATION: Binary = Unit("cairn_replication");
const SERVER: Binary = Unit("cairn_server");

/// Tests in one process, most of them in virtual time.
const QUICK_S: u64 = 20;
/// Tests with real processes.
const WHOLE_S: u64 = 120;
/// Rounds of a scenario, each with a seed of its own. The bugs show in one of two at worst.
const ROUNDS_MAX: u64 = 10;

/// What the checker of histories says, whatever the fault.
const HISTORY: &str = "more objects have faults";

const fn quick(bug: Bug, binary: Binary, test: &'static str, says: &'static str) -> Finder {
    Finder { bug, binary, test, says, budget_s: QUICK_S, rounds: 1 }
}

const fn whole(bug: Bug, file: &'static str, test: &'static str, says: &'static str) -> Finder {
    Finder { bug, binary: Whole(file), test, says, budget_s: WHOLE_S, rounds: 1 }
}

/// A scenario of `cluster_rounds.rs`, after which the histories of its clients are judged.
const fn scenario(bug: Bug, test: &'static str, says: &'static str) -> Finder {
    Finder { bug, binary: Whole("cluster_rounds"), test, says, budget_s: WHOLE_S, rounds: ROUNDS_MAX }
}

/// In the order of the table in tests/README.md.
const FINDERS: &[Finder] = &[
    quick(
        Bug::ReplyBeforeCommit,
        SERVER,
        "journal::raft_tests::a_batch_is_released_when_it_comes_out_of_the_log",
        "proposed is not committed",
    ),
    whole(
        Bug::ReplyBeforeCommit,
        "cluster_deposed",
        "what_a_leader_did_alone_is_neither_told_nor_seen_nor_kept",
        "told +OK of a write that no other node had",
    ),
    scenario(Bug::ReplyBeforeCommit, "cut_leader", HISTORY),
    quick(
        Bug::ServeBeforeBlank,
        SERVER,
        "journal::raft_tests::a_node_serves_only_after_the_blank_of_its_own_term",
        "older entries may still be on their way",
    ),
    quick(
        Bug::ChainOff,
        SERVER,
        "journal::raft_tests::a_gap_takes_all_that_comes_after_it_on_every_node_alike",
        "3 and 4 follow nothing",
    ),
    quick(Bug::DoubtIgnored, SERVER, "journal::raft_tests::every_doubt_ends_the_epoch", "the epoch goes on"),
    whole(
        Bug::StateKept,
        "cluster_deposed",
        "what_a_leader_did_alone_is_neither_told_nor_seen_nor_kept",
        "a committed batch cannot be applied",
    ),
    whole(
        Bug::StaleSession,
        "cluster_deposed",
        "what_a_leader_did_alone_is_neither_told_nor_seen_nor_kept",
        "told +OK of a write that no other node had",
    ),
    scenario(Bug::StaleSession, "pause_leader", HISTORY),
    whole(
        Bug::SnapshotNotCancelled,
        "cluster_deposed",
        "a_snapshot_of_what_a_leader_did_alone_is_given_up",
        "a snapshot of what was never committed was finished",
    ),
    whole(
        Bug::LeaseIgnored,
        "cluster_deposed",
        "a_leader_without_a_majority_answers_no_read_after_its_lease",
        "after the last sign of a majority",
    ),
    scenario(Bug::LeaseIgnored, "paused_reads", "a read was answered with what another leader has replaced"),
    quick(
        Bug::LeaseTooLong,
        REPLICATION,
        "tests::group::a_lease_is_over_before_anybody_else_leads",
        "two nodes may answer reads",
    ),
    quick(
        Bug::VoteNotSynced,
        REPLICATION,
        "tests::group::a_vote_is_on_disk_before_it_is_given",
        "it was given before it was on disk",
    ),
    quick(
        Bug::AcknowledgedBeforeFlush,
        REPLICATION,
        "tests::group::an_entry_is_acknowledged_only_when_it_is_on_a_majority_of_disks",
        "acknowledged with one disk out of three",
    ),
    quick(
        Bug::TruncationNotWritten,
        REPLICATION,
        "tests::lone::what_was_truncated_stays_so_after_a_crash",
        "assertion `left == right` failed",
    ),
    quick(
        Bug::VotesAtOnce,
        REPLICATION,
        "tests::group::a_restarted_node_does_not_vote_at_once",
        "inbound.pre_vote(request(false)).await.is_err()",
    ),
    quick(
        Bug::SnapshotWithoutChain,
        SERVER,
        "journal::raft_tests::a_snapshot_says_which_entry_it_is_the_state_after",
        "not that of the third batch",
    ),
    quick(
        Bug::DirtyReadsNotHeld,
        ENGINE,
        "engine_tests::a_read_of_an_unreleased_key_waits_and_of_another_does_not",
        "replies of one connection stay in order",
    ),
    whole(
        Bug::DirtyReadsNotHeld,
        "cluster_deposed",
        "what_a_leader_did_alone_is_neither_told_nor_seen_nor_kept",
        "shown a value that no other node had",
    ),
    scenario(Bug::DirtyReadsNotHeld, "cut_leader", HISTORY),
    quick(
        Bug::FollowerExpires,
        ENGINE,
        "engine_tests::a_follower_leaves_what_has_expired_to_the_leader",
        "its clock decides about no key",
    ),
    quick(
        Bug::FailedExecLogged,
        ENGINE,
        "commands::transactions::tests::a_refused_exec_has_no_effects",
        "WATCH was broken by",
    ),
    whole(
        Bug::LostForwardForgotten,
        "forwarding",
        "a_lost_leader_ends_what_waits_for_it_and_nothing_else",
        "\nNothing\n",
    ),
];

/// Builds with the bugs, and runs every test that has to find one whose name contains `filter`: without it, then with it.
pub fn run(filter: Option<&str>) -> anyhow::Result<()> {
    let mut steps = Steps::new();
    let build = steps.call("a build with the bugs", Build::make)?;
    let logs = dir().join("logs");
    fs::create_dir_all(&logs)?;
    let mut missed = Vec::new();
    let wanted = |finder: &&Finder| filter.is_none_or(|filter| format!("{:?}", finder.bug).contains(filter));
    println!("==> tests without and with each bug; what they print is in {}", logs.display());
    for finder in FINDERS.iter().filter(wanted) {
        let name = format!("{:?}", finder.bug);
        let verdict = build.judge(finder, &logs).with_context(|| format!("{name}, {}", finder.test))?;
        println!("    {name:24} {verdict:28} {}", finder.test);
        if let Verdict::Missed(why) = &verdict {
            missed.push(format!("{name}: {} {why}", finder.test));
        }
    }
    ensure!(
        missed.is_empty(),
        "{}\n    remedy: see the test's output in {}",
        missed.join("\n"),
        logs.display()
    );
    steps.done("every planted bug is found");
    Ok(())
}

/// What became of a test.
enum Verdict {
    Found {
        after: Duration,
        rounds: u64,
    },
    /// This machine cannot run it.
    Skipped,
    Missed(String),
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&match self {
            Verdict::Found { after, rounds: 1 } => format!("found after {:.1} s", after.as_secs_f32()),
            Verdict::Found { after, rounds } => {
                format!("found after {:.1} s, {rounds} rounds", after.as_secs_f32())
            }
            Verdict::Skipped => "cannot be looked for here".to_owned(),
            Verdict::Missed(why) => why.clone(),
        })
    }
}

/// Where a build with the bugs is: in a directory of its own, so that nobody takes its server for a good one.
fn dir() -> PathBuf {
    tools::target_dir().join("planted")
}

/// What was built.
#[derive(Default)]
struct Build {
    server: PathBuf,
    tests: Vec<TestBinary>,
}

struct TestBinary {
    /// Of the crate's library or of the file with the tests.
    target: String,
    executable: PathBuf,
    /// Where cargo would run it.
    home: PathBuf,
}

impl Build {
    fn make() -> anyhow::Result<Build> {
        // All at once: crate by crate they would have other features, and be built several times.
        let packages =
            ["-p", "cairn-engine", "-p", "cairn-replication", "-p", "cairn-server", "-p", "cairn-tests"];
        let mut command = cargo(&["build", "--locked", "--lib", "--bins", "--tests"]);
        command
            .args(packages)
            .args(["--message-format", "json-render-diagnostics", "--target-dir"])
            .arg(dir());
        command.env("RUSTFLAGS", "--cfg cairn_planted").stderr(Stdio::inherit());
        let output = command.output().context("cannot run cargo")?;
        ensure!(output.status.success(), "{}\n    remedy: see the compiler's errors", output.status);
        let mut build = Build::default();
        for line in output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let message: Value = serde_json::from_slice(line).context("cargo's message is no JSON")?;
            let target = message["target"]["name"].as_str().unwrap_or_default();
            let Some(executable) = message["executable"].as_str().map(PathBuf::from) else { continue };
            if message["profile"]["test"] == true {
                let manifest = Path::new(message["manifest_path"].as_str().unwrap_or_default());
                let home = manifest.parent().context("a manifest is in a directory")?.to_owned();
                build.tests.push(TestBinary { target: target.to_owned(), executable, home });
            } else if target == "cairn-server" {
                build.server = executable;
            }
        }
        Ok(build)
    }

    fn judge(&self, finder: &Finder, logs: &Path) -> anyhow::Result<Verdict> {
        let log = |with: &str| {
            let test = finder.test.rsplit("::").next().expect("a name has an end");
            logs.join(format!("{:?}-{test}-{with}.log", finder.bug))
        };
        let (passed, said) = self.test(finder, None, 1, &log("without"))?;
        if passed && said.contains(SKIPPED) {
            return Ok(Verdict::Skipped);
        }
        if !passed {
            return Ok(Verdict::Missed("fails without the bug".to_owned()));
        }
        let started = Instant::now();
        for seed in 1..=finder.rounds {
            let (passed, said) = self.test(finder, Some(finder.bug), seed, &log("with"))?;
            if passed {
                continue;
            }
            return Ok(match said.contains(finder.says) {
                true => Verdict::Found { after: started.elapsed(), rounds: seed },
                false => Verdict::Missed(format!("fails with the bug, and does not say \"{}\"", finder.says)),
            });
        }
        Ok(Verdict::Missed("passes with the bug".to_owned()))
    }

    /// Runs one test: whether it passed, and what it printed. One that takes too long has not passed.
    fn test(
        &self,
        finder: &Finder,
        bug: Option<Bug>,
        seed: u64,
        log: &Path,
    ) -> anyhow::Result<(bool, String)> {
        let (Unit(target) | Whole(target)) = finder.binary;
        let found = self.tests.iter().find(|binary| binary.target == target);
        let TestBinary { executable, home, .. } = found.with_context(|| format!("{target} was not built"))?;
        let output = File::create(log).with_context(|| log.display().to_string())?;
        let mut command = Command::new(executable);
        command.args(["--exact", "--nocapture", finder.test]).current_dir(home);
        command.env("CAIRN_SERVER_BIN", &self.server).env("RUST_BACKTRACE", "0").env_remove("CAIRN_PLANT");
        command.env("CAIRN_CLUSTER_SEED", seed.to_string());
        if let Some(bug) = bug {
            command.env("CAIRN_PLANT", format!("{bug:?}"));
        }
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot run {}", executable.display()))?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if started.elapsed() > Duration::from_secs(finder.budget_s) {
                child.kill()?;
                child.wait()?;
                break None;
            }
            thread::sleep(LOOK_INTERVAL);
        };
        let said = String::from_utf8_lossy(&fs::read(log)?).into_owned();
        ensure!(said.contains("running 1 test"), "{target} has no such test; see {}", log.display());
        Ok((status.is_some_and(|status| status.success()), said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_is_looked_for() {
        for bug in Bug::ALL {
            assert!(FINDERS.iter().any(|finder| finder.bug == *bug), "{bug:?} has no test that finds it");
        }
    }

    #[test]
    fn the_readme_has_all_bugs_and_who_finds_them() {
        let readme = include_str!("../../tests/README.md");
        for Finder { bug, test, .. } in FINDERS {
            let (bug, test) = (format!("`{bug:?}`"), test.rsplit("::").next().unwrap());
            let row = readme.lines().find(|line| line.starts_with(&format!("| {bug} |")));
            let row = row.unwrap_or_else(|| panic!("tests/README.md has no row for {bug}"));
            assert!(row.contains(&format!("`{test}`")), "the row of {bug} does not name {test}");
        }
    }
}
