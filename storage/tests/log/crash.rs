//! A crash at any moment loses nothing that was acknowledged and invents nothing.

use cairn_storage::disk::{Fault, SimDisk};
use cairn_storage::log::LogError;

use crate::model::{History, Step, open, recorded_workload};

/// How many ways of tearing are tried at every cut; `cargo xtask crash` asks for more.
fn seeds() -> u64 {
    std::env::var("CAIRN_CRASH_SEEDS").map_or(3, |seeds| seeds.parse().expect("a number of seeds"))
}

/// Runs the workload until the power fails or the end.
fn run(disk: &SimDisk, history: &mut History, steps: &[Step]) -> Result<(), LogError> {
    let (mut log, _) = open(disk)?;
    steps.iter().try_for_each(|step| history.run(&mut log, step))
}

fn operations_of(steps: &[Step]) -> u64 {
    let disk = SimDisk::new(0);
    run(&disk, &mut History::new(), steps).unwrap();
    disk.operations()
}

fn reopen(disk: &SimDisk, history: &mut History, context: &str) {
    let (log, recovered) = open(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    history.check(&log, &recovered, context);
}

#[test]
fn whatever_was_acknowledged_survives_a_cut_at_every_write_and_sync() {
    let steps = recorded_workload();
    let operations = operations_of(&steps);
    assert!(operations > 80, "the workload has become trivial: {operations} operations");
    let mut torn = 0;
    for seed in 0..seeds() {
        for cut in 1..=operations {
            let context = format!("seed {seed}, cut at {cut}");
            let disk = SimDisk::new(seed << 32 | cut);
            let mut history = History::new();
            disk.cut_at(cut);
            run(&disk, &mut history, &steps).expect_err(&context);
            disk.crash();
            let (log, recovered) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            torn += u64::from(recovered.torn.is_some());
            history.check(&log, &recovered, &context);
            drop(log);
            // What was dropped must stay dropped, whatever is written in its place and whenever that is cut.
            disk.crash();
            reopen(&disk, &mut history, &context);
            let again = [Step::Append(vec![90; 4]), Step::Vote(9), Step::Append(vec![700, 20])];
            disk.cut_at(disk.operations() + 1 + cut % 6);
            let _ = run(&disk, &mut history, &again);
            disk.crash();
            reopen(&disk, &mut history, &format!("{context}, second crash"));
        }
    }
    assert!(torn > operations / 2, "the disk hardly tears anything: {torn}");
}

#[test]
fn a_crash_during_recovery_changes_nothing() {
    let steps = recorded_workload();
    let operations = operations_of(&steps);
    for seed in 0..seeds() {
        for cut in (1..=operations).step_by(5) {
            // Recovery makes a handful of changes; cut at each of them, in a row.
            let disk = SimDisk::new(seed << 32 | cut);
            let mut history = History::new();
            disk.cut_at(cut);
            let _ = run(&disk, &mut history, &steps);
            disk.crash();
            for nth in 1..12 {
                disk.cut_at(disk.operations() + nth);
                let opened = open(&disk);
                if let Ok((log, recovered)) = &opened {
                    history.check(
                        log,
                        recovered,
                        &format!("seed {seed}, cut at {cut}, recovery cut at {nth}"),
                    );
                }
                disk.crash();
            }
            reopen(&disk, &mut history, &format!("seed {seed}, cut at {cut}, after cut recoveries"));
        }
    }
}

#[test]
fn kill_minus_nine_loses_nothing_that_was_written() {
    let disk = SimDisk::new(1);
    let mut history = History::new();
    let steps: Vec<Step> =
        recorded_workload().into_iter().filter(|step| !matches!(step, Step::Sync | Step::Mark)).collect();
    run(&disk, &mut history, &steps).unwrap();
    history.acknowledged = history.records.len();
    reopen(&disk, &mut history, "killed");
    // And recovery has synced it: the power may fail now.
    disk.crash();
    reopen(&disk, &mut history, "killed, then without power");
}

#[test]
fn when_the_process_ends_at_any_operation_and_the_power_fails_later_nothing_acknowledged_is_lost() {
    // What the dead process has not synced can still be read at the next start, and must not be taken for safe: neither
    // names nor bytes, not even those that a failed sync has made look clean.
    let steps = recorded_workload();
    for seed in 0..seeds() {
        for nth in 1..=operations_of(&steps) {
            let context = format!("seed {seed}, ended at {nth}");
            let disk = SimDisk::new(seed << 32 | nth);
            let mut history = History::new();
            disk.fail(nth, Fault::Io);
            run(&disk, &mut history, &steps).expect_err(&context);
            let (mut log, recovered) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            history.check(&log, &recovered, &context);
            for step in [Step::Append(vec![100, 600]), Step::Sync, Step::Append(vec![600; 2])] {
                history.run(&mut log, &step).unwrap();
            }
            disk.crash();
            reopen(&disk, &mut history, &format!("{context}, then without power"));
        }
    }
}
