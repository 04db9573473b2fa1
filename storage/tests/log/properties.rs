//! Random workloads, random crashes.

use cairn_storage::disk::SimDisk;
use cairn_storage::log::LogError;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::{History, Step, open};

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec(prop_oneof![0..200usize, 400..600usize, 0..9000usize], 1..6).prop_map(Step::Append),
        4 => Just(Step::Sync),
        1 => vec(0..2000usize, 1..4).prop_map(Step::SyncAround),
        1 => any::<u8>().prop_map(Step::Vote),
        1 => (0..20u64).prop_map(Step::Truncate),
        1 => Just(Step::Committed),
        1 => (1..15u64).prop_map(Step::Purge),
        1 => Just(Step::Mark),
        1 => Just(Step::Spare),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_workload_survives_any_number_of_crashes(
        seed in any::<u64>(),
        lives in vec((vec(step(), 0..25), 1..60u64), 1..5),
    ) {
        let disk = SimDisk::new(seed);
        let mut history = History::new();
        for (nth, (steps, cut)) in lives.into_iter().enumerate() {
            disk.cut_at(disk.operations() + cut);
            match open(&disk) {
                Ok((mut log, recovered)) => {
                    history.check(&log, &recovered, &format!("life {nth}"));
                    let _ = steps.iter().try_for_each(|step| history.run(&mut log, step));
                }
                Err(LogError::Io { .. }) => {}
                Err(error) => panic!("life {nth}: {error}"),
            }
            disk.crash();
        }
        let (log, recovered) = open(&disk).unwrap();
        history.check(&log, &recovered, "last life");
    }

    #[test]
    fn any_workload_gets_through_a_disk_that_is_full_now_and_then(
        seed in any::<u64>(),
        steps in vec((step(), 0..100_000u64), 1..40),
    ) {
        let disk = SimDisk::new(seed);
        let mut history = History::new();
        let (mut log, _) = open(&disk).unwrap();
        for (step, room) in steps {
            disk.set_capacity(room);
            let before = history.clone();
            match history.run(&mut log, &step) {
                Err(LogError::Full { .. }) => {
                    history = before;
                    disk.set_capacity(u64::MAX);
                    history.run(&mut log, &step).unwrap();
                }
                done => done.unwrap(),
            }
        }
        drop(log);
        disk.crash();
        let (log, recovered) = open(&disk).unwrap();
        history.check(&log, &recovered, "at the end");
    }
}
