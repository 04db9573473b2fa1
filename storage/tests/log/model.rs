//! What a log should say after any number of records, and a workload that is run against both.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cairn_storage::disk::{Disk, SimDisk};
use cairn_storage::log::{Kind, Log, LogError, LogOptions, Record, Recovered};

pub const DIR: &str = "data/log";
pub const SEGMENT: u64 = 16 * 1024;

pub fn options() -> LogOptions {
    LogOptions { segment_bytes: SEGMENT, salt: 0x5eed }
}

pub fn open(disk: &SimDisk) -> Result<(Log, Recovered), LogError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Log::open(disk, Path::new(DIR), options())
}

/// The newest segment's file.
pub fn newest(disk: &SimDisk) -> std::path::PathBuf {
    disk.files().into_iter().rfind(|file| file.extension().is_some_and(|e| e == "seg")).unwrap()
}

/// A record with a payload of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub kind: Kind,
    pub index: u64,
    pub term: u64,
    pub payload: Vec<u8>,
}

/// One call of the log.
#[derive(Clone, Debug)]
pub enum Step {
    /// Entries with payloads of these lengths.
    Append(Vec<usize>),
    Vote(u8),
    /// Truncate so many entries from the end, as far as there are.
    Truncate(u64),
    Committed,
    /// Purge so many entries from the beginning.
    Purge(u64),
    Sync,
    /// Entries that are appended while what came before them is being synced.
    SyncAround(Vec<usize>),
    Mark,
    Spare,
}

/// What the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub vote: Option<Vec<u8>>,
    pub committed: u64,
    pub purged: u64,
    pub last_index: u64,
    pub entries: BTreeMap<u64, (u64, Vec<u8>)>,
}

impl Said {
    pub fn nothing() -> Said {
        Said { vote: None, committed: 0, purged: 0, last_index: 0, entries: BTreeMap::new() }
    }

    pub fn take(&mut self, record: &Written) {
        let index = record.index;
        match record.kind {
            Kind::Entry => {
                self.entries.insert(index, (record.term, record.payload.clone()));
                self.last_index = index;
            }
            Kind::Vote => self.vote = Some(record.payload.clone()),
            Kind::Truncate => {
                self.entries.split_off(&(index + 1));
                self.last_index = index;
            }
            Kind::Committed => self.committed = self.committed.max(index),
            Kind::Purge => {
                self.entries = self.entries.split_off(&(index + 1));
                self.purged = self.purged.max(index);
                self.last_index = self.last_index.max(index);
            }
        }
    }

    /// Reads everything that a log says.
    pub fn by(log: &Log, recovered: &Recovered) -> Said {
        let entries = log.read(recovered.first_index).unwrap().map(|entry| {
            let entry = entry.unwrap();
            (entry.index, (entry.term, entry.payload.to_vec()))
        });
        let entries: BTreeMap<_, _> = entries.collect();
        assert_eq!(entries.len() as u64, recovered.last_index + 1 - recovered.first_index);
        assert_eq!((log.first_index(), log.last_index()), (recovered.first_index, recovered.last_index));
        Said {
            vote: recovered.vote.as_ref().map(|vote| vote.to_vec()),
            committed: recovered.committed,
            purged: recovered.purged,
            last_index: recovered.last_index,
            entries,
        }
    }
}

/// All records ever submitted to a log, and how many of them have been acknowledged.
#[derive(Clone)]
pub struct History {
    pub records: Vec<Written>,
    pub acknowledged: usize,
    now: Said,
    term: u64,
    salt: u8,
}

impl History {
    pub fn new() -> History {
        History { records: Vec::new(), acknowledged: 0, now: Said::nothing(), term: 1, salt: 0 }
    }

    fn submit(&mut self, kind: Kind, index: u64, term: u64, payload: Vec<u8>) -> Written {
        let record = Written { kind, index, term, payload };
        self.now.take(&record);
        self.records.push(record.clone());
        record
    }

    /// Does one step on the log. What was submitted is noted before the call, what is acknowledged after it.
    pub fn run(&mut self, log: &mut Log, step: &Step) -> Result<(), LogError> {
        self.salt = self.salt.wrapping_add(1);
        match step {
            Step::Append(lengths) => {
                let mut batch = Vec::new();
                for &len in lengths {
                    let index = self.now.last_index + 1;
                    let payload =
                        (0..len).map(|n| (n as u8).wrapping_mul(31) ^ self.salt ^ index as u8).collect();
                    batch.push(self.submit(Kind::Entry, index, self.term, payload));
                }
                append(log, &batch)
            }
            Step::Vote(vote) => {
                let record = self.submit(Kind::Vote, 0, 0, vec![*vote; 20]);
                log.save_vote(&record.payload)
            }
            Step::Truncate(count) => {
                let after = self.now.last_index.saturating_sub(*count).max(self.now.purged);
                self.term += 1;
                self.submit(Kind::Truncate, after, 0, Vec::new());
                log.truncate_after(after)
            }
            Step::Committed => {
                let index = self.now.last_index;
                self.submit(Kind::Committed, index, 0, Vec::new());
                log.committed(index)
            }
            Step::Purge(count) => {
                let upto = self.now.purged + count;
                self.submit(Kind::Purge, upto, 0, Vec::new());
                let retired = log.retire(upto)?;
                self.acknowledged = self.records.len();
                retired.remove()
            }
            Step::Sync => {
                log.sync()?;
                self.acknowledged = self.records.len();
                Ok(())
            }
            Step::SyncAround(lengths) => {
                let sync = log.begin_sync()?;
                let before = self.records.len();
                self.run(log, &Step::Append(lengths.clone()))?;
                if let Some(sync) = sync {
                    log.end_sync(sync.run())?;
                }
                self.acknowledged = before;
                Ok(())
            }
            Step::Mark => {
                self.submit(Kind::Committed, 0, 0, Vec::new());
                log.mark()?;
                self.acknowledged = self.records.len();
                Ok(())
            }
            Step::Spare => match log.wants_spare() {
                None => Ok(()),
                Some(job) => {
                    log.keep_spare(job.run()?);
                    Ok(())
                }
            },
        }
    }

    /// Checks that a recovered log says what some prefix of the records says, with all acknowledged ones in it, and goes on
    /// from there.
    pub fn check(&mut self, log: &Log, recovered: &Recovered, context: &str) {
        let said = Said::by(log, recovered);
        let mut prefix = Said::nothing();
        let mut fits = (self.acknowledged == 0 && prefix == said).then_some(0);
        for (nth, record) in self.records.iter().enumerate() {
            prefix.take(record);
            if nth + 1 >= self.acknowledged && prefix == said {
                fits = Some(nth + 1);
            }
        }
        let Some(fits) = fits else {
            panic!(
                "{context}: no prefix of the {} records with the {} acknowledged ones says {:?} (entries {:?})",
                self.records.len(),
                self.acknowledged,
                (&said.vote, said.committed, said.purged, said.last_index),
                said.entries.keys()
            );
        };
        self.records.truncate(fits);
        // What recovery has found is safe from now on.
        self.acknowledged = fits;
        self.now = said;
    }
}

pub fn append(log: &mut Log, batch: &[Written]) -> Result<(), LogError> {
    // Payloads in two pieces, as they come from a batch of effects.
    let halves: Vec<[&[u8]; 2]> = batch
        .iter()
        .map(|record| {
            let (left, right) = record.payload.split_at(record.payload.len() / 2);
            [left, right]
        })
        .collect();
    let records: Vec<Record<'_>> = batch
        .iter()
        .zip(&halves)
        .map(|(record, halves)| Record::entry(record.index, record.term, halves))
        .collect();
    log.append(&records)
}

/// A workload that uses everything: groups, segments that fill up, records longer than a segment, truncation back into
/// an older segment, purges.
pub fn recorded_workload() -> Vec<Step> {
    use Step::*;
    vec![
        Vote(1),
        Sync,
        Append(vec![10]),
        Sync,
        Append(vec![100, 0, 700, 3000]),
        Sync,
        Append(vec![1500; 3]),
        Append(vec![600, 600, 600, 600]),
        Committed,
        Sync,
        Spare,
        Append(vec![2000, 2000, 2000, 2000]),
        Sync,
        Vote(2),
        Append(vec![40; 20]),
        Sync,
        Truncate(12),
        Append(vec![900, 900]),
        Sync,
        Append(vec![20_000]),
        Sync,
        Append(vec![64]),
        SyncAround(vec![200, 800]),
        Append(vec![700, 20]),
        Append(vec![5000, 5000, 5000, 5000]),
        Sync,
        Purge(9),
        Truncate(9),
        Sync,
        Append(vec![300; 10]),
        Mark,
        Spare,
        Append(vec![7000, 30_000, 8, 7000]),
        Sync,
        Committed,
        Purge(22),
        Append(vec![513, 511, 512]),
        Sync,
        Vote(3),
        Purge(100),
        Append(vec![1, 2, 3]),
        Sync,
        Append(vec![6000; 6]),
        SyncAround(vec![6000; 6]),
        Append(vec![6000; 6]),
        Sync,
    ]
}
