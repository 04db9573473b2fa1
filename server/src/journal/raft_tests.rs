//! The rules of the Raft journal against a Raft that does whatever a test says.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_engine::effects::{Batch, Effects};
use cairn_engine::rdb::Aux;
use cairn_replication::entry::{Members, log_id};
use cairn_replication::handle::{Applied, Committed, Doubt};
use cairn_replication::types::{LogId, Membership, Peer, SnapshotMeta};

use super::raft::{Chain, Group, RaftJournal, ReadEntry, Start};
use super::{Event, Figures, Journal, Retention};
use crate::cluster::position::Position;

/// What the fake has been told, and what it tells.
#[derive(Default)]
struct Told {
    proposed: Vec<(u64, Bytes)>,
    doubt: Option<Doubt>,
    applied: VecDeque<Applied>,
    leading: Option<u64>,
    gave_up: Vec<u64>,
    log: BTreeMap<u64, (LogId, Committed)>,
    compacted: Vec<SnapshotMeta>,
}

#[derive(Clone, Default)]
struct Fake(Rc<RefCell<Told>>);

impl Group for Fake {
    fn propose(&self, term: u64, batch: Bytes) {
        self.0.borrow_mut().proposed.push((term, batch));
    }
    fn queued_bytes(&self) -> u64 {
        0
    }
    fn doubt(&self) -> Option<Doubt> {
        self.0.borrow().doubt.clone()
    }
    fn take_applied(&self, into: &mut VecDeque<Applied>, _bytes_max: usize) -> bool {
        into.append(&mut self.0.borrow_mut().applied);
        !into.is_empty()
    }
    fn leading(&self) -> Option<u64> {
        self.0.borrow().leading
    }
    fn give_up(&self, term: u64) {
        self.0.borrow_mut().gave_up.push(term);
    }
    fn read(&self, from: u64, to: u64, each: &mut ReadEntry<'_>) -> Result<(), String> {
        let told = self.0.borrow();
        told.log.range(from..=to).try_for_each(|(_, (log_id, entry))| each(*log_id, entry.clone()))
    }
    fn compact(&self, meta: SnapshotMeta, _retention: Retention) {
        self.0.borrow_mut().compacted.push(meta);
    }
    fn is_full(&self) -> bool {
        false
    }
    fn figures(&self) -> Figures {
        Figures::default()
    }
    fn flush(&self) -> Result<(), String> {
        Ok(())
    }
}

impl Fake {
    /// An entry comes out of the log.
    fn commit(&self, term: u64, index: u64, entry: Committed) {
        let mut told = self.0.borrow_mut();
        let log_id = log_id(term, index);
        told.log.insert(index, (log_id, entry.clone()));
        told.applied.push_back(Applied::Entry { log_id, entry });
    }

    fn journal(&self) -> RaftJournal {
        let start = Start { chain: Chain::default(), applied: None, membership: Arc::default() };
        RaftJournal::new(Box::new(self.clone()), start, Duration::from_secs(3600))
    }

    /// A journal that serves in `term`, whose Blank is entry `term`.
    fn serving(&self, term: u64) -> RaftJournal {
        let mut journal = self.journal();
        self.0.borrow_mut().leading = Some(term);
        self.commit(term, term, Committed::Blank);
        assert!(matches!(journal.poll(), Some(Event::Lead { term: led }) if led == term));
        journal
    }
}

fn batch(epoch: u64, seq: u64) -> Batch {
    let mut effects = Effects::new(true, seq - 1);
    effects.set_epoch(epoch);
    effects.log(0, &[b"SET", b"k", b"v"]);
    effects.end_unit(false);
    let mut batches = Vec::new();
    effects.take(&mut batches);
    batches.remove(0)
}

fn entry(epoch: u64, seq: u64) -> Committed {
    Committed::Batch(batch(epoch, seq).payload.into())
}

fn lost(event: Option<Event>) -> (u64, bool) {
    match event {
        Some(Event::Lost { term, unreleased, .. }) => (term, unreleased),
        _ => panic!("the epoch goes on"),
    }
}

#[test]
fn a_node_serves_only_after_the_blank_of_its_own_term() {
    let fake = Fake::default();
    let mut journal = fake.journal();
    fake.0.borrow_mut().leading = Some(5);
    fake.commit(4, 1, Committed::Blank);
    fake.commit(4, 2, entry(4, 1));
    assert!(matches!(journal.poll(), Some(Event::Apply(_))));
    assert!(journal.poll().is_none(), "elected, but older entries may still be on their way");
    fake.commit(5, 3, Committed::Blank);
    assert!(matches!(journal.poll(), Some(Event::Lead { term: 5 })));
    assert_eq!(journal.released(), 1);
}

#[test]
fn a_batch_is_released_when_it_comes_out_of_the_log() {
    let fake = Fake::default();
    let mut journal = fake.serving(1);
    journal.append(batch(1, 1));
    journal.append(batch(1, 2));
    assert_eq!(fake.0.borrow().proposed.iter().map(|(term, _)| *term).collect::<Vec<_>>(), [1, 1]);
    assert!(journal.poll().is_none());
    assert_eq!(journal.released(), 0, "proposed is not committed");
    fake.commit(1, 2, entry(1, 1));
    assert!(journal.poll().is_none(), "what this node has executed it does not apply");
    assert_eq!(journal.released(), 1);
}

#[test]
fn a_gap_takes_all_that_comes_after_it_on_every_node_alike() {
    let fake = Fake::default();
    let mut follower = fake.journal();
    fake.commit(1, 1, Committed::Blank);
    for (index, (epoch, seq)) in [(1, 1), (1, 3), (1, 4), (1, 1)].into_iter().enumerate() {
        fake.commit(1, index as u64 + 2, entry(epoch, seq));
    }
    fake.commit(2, 9, Committed::Blank);
    fake.commit(2, 10, entry(2, 2));
    let mut applied = 0;
    while let Some(event) = follower.poll() {
        assert!(matches!(event, Event::Apply(_)));
        applied += 1;
    }
    assert_eq!((applied, follower.released()), (2, 2), "3 and 4 follow nothing, the second 1 is a copy");
}

#[test]
fn a_gap_in_its_own_series_ends_the_epoch() {
    let fake = Fake::default();
    let mut journal = fake.serving(1);
    (1..=3).for_each(|seq| journal.append(batch(1, seq)));
    fake.commit(1, 2, entry(1, 2));
    assert_eq!(lost(journal.poll()), (1, true));
    assert_eq!(journal.released(), 0);
    assert_eq!(fake.0.borrow().gave_up, [1], "Raft still takes it for the leader of a term that is over");
    assert!(journal.poll().is_none(), "the term is not served again");
}

#[test]
fn every_doubt_ends_the_epoch() {
    type Cause = fn(&Fake);
    let causes: [(&str, Cause); 4] = [
        ("a refused proposal", |fake| {
            fake.0.borrow_mut().doubt = Some(Doubt { term: 1, cause: "refused".to_owned() });
        }),
        ("a lost leadership", |fake| fake.0.borrow_mut().leading = None),
        ("an election elsewhere", |fake| fake.commit(2, 7, Committed::Blank)),
        ("an election of its own", |fake| fake.0.borrow_mut().leading = Some(2)),
    ];
    for (name, cause) in causes {
        for in_flight in [false, true] {
            let fake = Fake::default();
            let mut journal = fake.serving(1);
            if in_flight {
                journal.append(batch(1, 1));
            }
            cause(&fake);
            assert_eq!(lost(journal.poll()), (1, in_flight), "{name}");
        }
    }
}

#[test]
fn an_old_doubt_is_none_of_a_new_epoch() {
    let fake = Fake::default();
    fake.0.borrow_mut().doubt = Some(Doubt { term: 1, cause: "refused".to_owned() });
    let mut journal = fake.serving(2);
    assert!(journal.poll().is_none());
}

#[test]
fn no_release_within_the_time_limit_ends_the_epoch() {
    let fake = Fake::default();
    let start = Start { chain: Chain::default(), applied: None, membership: Arc::default() };
    let mut journal = RaftJournal::new(Box::new(fake.clone()), start, Duration::ZERO);
    fake.0.borrow_mut().leading = Some(1);
    fake.commit(1, 1, Committed::Blank);
    assert!(matches!(journal.poll(), Some(Event::Lead { .. })));
    assert!(journal.poll().is_none(), "nothing is in flight");
    journal.append(batch(1, 1));
    assert_eq!(lost(journal.poll()), (1, true));
}

#[test]
fn a_deposed_leaders_batch_may_still_be_committed_and_is_applied_then() {
    let fake = Fake::default();
    let mut journal = fake.serving(1);
    journal.append(batch(1, 1));
    journal.append(batch(1, 2));
    fake.0.borrow_mut().leading = None;
    assert_eq!(lost(journal.poll()), (1, true));
    // Its successor has found the first one on a majority.
    fake.commit(1, 2, entry(1, 1));
    fake.commit(2, 3, Committed::Blank);
    fake.commit(2, 4, entry(2, 2));
    assert!(matches!(journal.poll(), Some(Event::Apply(_))));
    assert!(matches!(journal.poll(), Some(Event::Apply(_))));
    assert_eq!(journal.released(), 2);
}

#[test]
fn the_entry_that_ends_an_epoch_counts_after_it() {
    let fake = Fake::default();
    let mut journal = fake.serving(1);
    journal.append(batch(1, 1));
    fake.commit(2, 5, Committed::Blank);
    fake.commit(2, 6, entry(2, 1));
    assert_eq!(lost(journal.poll()), (1, true));
    let mut replayed = 0;
    journal
        .replay(&Aux::default(), &mut |_| {
            replayed += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(replayed, 0, "the state is rebuilt as it was before the other leader's entries");
    assert!(matches!(journal.poll(), Some(Event::Apply(_))));
}

#[test]
fn a_rebuild_takes_the_batches_that_counted() {
    let fake = Fake::default();
    let mut journal = fake.journal();
    fake.commit(1, 1, Committed::Blank);
    for (index, seq) in [1, 2, 9, 3].into_iter().enumerate() {
        fake.commit(1, index as u64 + 2, entry(1, seq));
    }
    while journal.poll().is_some() {}
    let mut seqs = Vec::new();
    let mut collect = |payload: &[u8]| {
        seqs.push(cairn_engine::effects::header(payload).unwrap().seq);
        Ok(())
    };
    journal.replay(&Aux::default(), &mut collect).unwrap();
    assert_eq!(seqs, [1, 2, 3]);
}

#[test]
fn a_snapshot_says_which_entry_it_is_the_state_after() {
    let fake = Fake::default();
    let mut journal = fake.serving(1);
    (1..=3).for_each(|seq| journal.append(batch(1, seq)));
    assert_eq!(journal.position(2), None, "taken ahead of what is committed");
    fake.commit(1, 2, entry(1, 1));
    assert!(journal.poll().is_none());
    assert_eq!(journal.position(2), None);
    let nodes = BTreeMap::from([(7, Peer::default())]);
    let members = Members::new(vec![[7].into()], nodes).unwrap();
    let membership = Arc::new(Membership::new(Some(log_id(1, 3)), members));
    fake.commit(1, 3, Committed::Membership(Arc::clone(&membership)));
    fake.commit(1, 4, entry(1, 2));
    fake.commit(1, 5, entry(1, 3));
    assert!(journal.poll().is_none());
    let fields = journal.position(2).expect("released");
    let other = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let aux = Aux { seq: Some(2), other, ..Aux::default() };
    let expected = Position { chain: Chain { epoch: 1, seq: 2 }, log_id: log_id(1, 4), membership };
    assert_eq!(Position::from_aux(&aux), Ok(Some(expected.clone())), "not that of the third batch");
    journal.compact(2, Retention { bytes: 0, seconds: 0 });
    assert_eq!(fake.0.borrow().compacted, [expected.meta()]);
    // A follower that adopts it goes on from there, and replays what came later.
    let other = Fake::default();
    let mut follower = other.journal();
    follower.adopt(&aux).unwrap();
    assert_eq!(follower.released(), 2);
    other.commit(1, 5, entry(1, 3));
    assert!(matches!(follower.poll(), Some(Event::Apply(_))));
    let mut replayed = 0;
    let mut count = |_: &[u8]| {
        replayed += 1;
        Ok(())
    };
    follower.replay(&aux, &mut count).unwrap();
    assert_eq!(replayed, 1);
}

#[test]
fn a_snapshot_that_is_getting_its_name_outlives_the_leadership_and_yields_to_the_leaders() {
    let retention = Retention { bytes: 0, seconds: 0 };
    let written = |fake: &Fake| {
        let mut journal = fake.serving(1);
        journal.append(batch(1, 1));
        journal.append(batch(1, 2));
        assert_eq!(journal.position(2), None);
        let nodes = BTreeMap::from([(7, Peer::default())]);
        let members = Members::new(vec![[7].into()], nodes).unwrap();
        let membership = Arc::new(Membership::new(Some(log_id(1, 2)), members));
        fake.commit(1, 2, Committed::Membership(membership));
        fake.commit(1, 3, entry(1, 1));
        fake.commit(1, 4, entry(1, 2));
        assert!(journal.poll().is_none());
        let fields = journal.position(2).expect("released: the file gets its name from here on");
        fake.0.borrow_mut().leading = None;
        assert_eq!(lost(journal.poll()), (1, false));
        (journal, fields)
    };
    let fake = Fake::default();
    let (mut journal, fields) = written(&fake);
    journal.compact(2, retention);
    assert_eq!(fake.0.borrow().compacted.len(), 1, "it is a snapshot of what is committed");

    let fake = Fake::default();
    let (mut journal, _) = written(&fake);
    let other = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    journal.adopt(&Aux { seq: Some(2), other, ..Aux::default() }).unwrap();
    journal.compact(2, retention);
    assert_eq!(fake.0.borrow().compacted, [], "the file is the leader's now");
}

#[test]
fn a_snapshot_of_what_was_never_committed_has_no_position_after_the_epoch() {
    let fake = Fake::default();
    let mut journal = fake.serving(1);
    journal.append(batch(1, 1));
    assert_eq!(journal.position(1), None);
    fake.0.borrow_mut().leading = None;
    assert_eq!(lost(journal.poll()), (1, true));
    // Another batch has its number now.
    fake.commit(2, 2, Committed::Blank);
    fake.commit(2, 3, entry(2, 1));
    assert!(matches!(journal.poll(), Some(Event::Apply(_))));
    journal.compact(1, Retention { bytes: 0, seconds: 0 });
    assert_eq!(fake.0.borrow().compacted, []);
}
