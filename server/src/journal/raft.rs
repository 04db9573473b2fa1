//! The journal of a cluster: batches become entries of Raft's log; released means committed.
//!
//! # The five rules
//!
//! What openraft promises is an order of entries that all nodes share. What it does not: that the proposals of one leader
//! get in without gaps, or that a leader knows at once that it is none. Five rules make one Redis of that.
//!
//! 1. **Serve only from a clean start.** [`RaftJournal::may_lead`]: commands are executed only once the `Blank` entry of the
//!    node's own term has come out of the log, so that everything older has been applied here.
//! 2. **Chain.** [`Chain::admit`]: every batch says its epoch (the term it was made in) and its number; every node drops one
//!    that does not follow the last. A gap in a leader's series takes all that comes after it, everywhere alike.
//! 3. **Any doubt ends the epoch.** [`RaftJournal::lose`]: a refused proposal, a lost leadership, a batch of somebody else, no
//!    release within the time-out. The executor then closes held connections, rebuilds its state and follows.
//! 4. **Read only under a lease.** In the executor (`executor/lead.rs`): nothing leaves while the lease is not valid.
//! 5. **A planned hand-over is clean.** In the executor too: it stops executing, waits for what is in flight, then transfers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_engine::effects::{self, Batch, BatchHeader};
use cairn_engine::rdb::Aux;
use cairn_planted::planted;
use cairn_replication::entry::term_of;
use cairn_replication::handle::{Applied, Committed, Doubt};
use cairn_replication::types::{LogId, Membership, SnapshotMeta};

use super::{ApplyBatch, AuxFields, Event, Figures, Journal, Retention};
use crate::cluster::position::Position;

/// Bytes of entries taken from Raft at a time.
const TAKE_BYTES_MAX: usize = 1 << 20;

/// What the journal needs of Raft; [`cairn_replication::handle::Handle`], or a fake in tests.
pub trait Group {
    /// Queues a batch, to become an entry if this node leads `term` then.
    fn propose(&self, term: u64, batch: Bytes);
    /// Bytes that wait for a majority, or for this node's own disk, which may be the slower one.
    fn queued_bytes(&self) -> u64;
    /// The first proposal of the newest term that failed.
    fn doubt(&self) -> Option<Doubt>;
    /// Moves what has come out of the log to `into`; false when there was nothing.
    fn take_applied(&self, into: &mut VecDeque<Applied>, bytes_max: usize) -> bool;
    /// The term that this node leads, as far as Raft knows.
    fn leading(&self) -> Option<u64>;
    /// This node wants to lead that term no longer.
    fn give_up(&self, term: u64);
    /// Reads committed entries again.
    fn read(&self, from: u64, to: u64, each: &mut ReadEntry<'_>) -> Result<(), String>;
    /// The snapshot that a start loads is now the one of `meta`; older entries may go as far as retention allows.
    fn compact(&self, meta: SnapshotMeta, retention: Retention);
    /// Is there no room for the log on this node?
    fn is_full(&self) -> bool;
    /// Figures of the log.
    fn figures(&self) -> Figures;
    /// Waits until everything queued is on this node's disk.
    fn flush(&self) -> Result<(), String>;
}

/// What is done with each entry that is read again.
pub type ReadEntry<'a> = dyn FnMut(LogId, Committed) -> Result<(), String> + 'a;

/// The batches that count, as all nodes see them: part of the replicated state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    pub epoch: u64,
    pub seq: u64,
}

impl Chain {
    /// Rule 2: does this batch count? If so it is the last one from here on.
    pub fn admit(&mut self, batch: &BatchHeader) -> bool {
        let follows = batch.seq == self.seq + 1 && batch.epoch >= self.epoch || planted!(ChainOff);
        if follows {
            *self = Chain { epoch: batch.epoch, seq: batch.seq };
        }
        follows
    }
}

/// Where a new journal goes on.
#[derive(Clone, Debug)]
pub struct Start {
    pub chain: Chain,
    pub applied: Option<LogId>,
    pub membership: Arc<Membership>,
}

/// See the module.
pub struct RaftJournal {
    group: Box<dyn Group>,
    /// Entries taken from Raft that have not been looked at.
    queue: VecDeque<Applied>,
    chain: Chain,
    applied: Option<LogId>,
    membership: Arc<Membership>,
    /// The term of the newest `Blank` that has come out of the log.
    blank: u64,
    /// The term in which this node serves.
    epoch: Option<u64>,
    /// Terms up to this one are over for this node, whatever Raft says.
    ended: u64,
    /// Own batches that have not come out of the log yet, and when they were proposed.
    in_flight: VecDeque<(u64, Instant)>,
    appended: u64,
    /// Longest wait for a release.
    release_timeout: Duration,
    /// The seq that a snapshot being written waits for, and what it will be the state of.
    marked: Option<(u64, Option<Position>)>,
    appended_bytes: u64,
    full: bool,
}

impl RaftJournal {
    /// A journal that follows, until it is elected.
    pub fn new(group: Box<dyn Group>, start: Start, release_timeout: Duration) -> Self {
        let Start { chain, applied, membership } = start;
        Self {
            group,
            queue: VecDeque::new(),
            chain,
            applied,
            membership,
            blank: 0,
            epoch: None,
            ended: 0,
            in_flight: VecDeque::new(),
            appended: chain.seq,
            release_timeout,
            marked: None,
            appended_bytes: 0,
            full: false,
        }
    }

    /// Rule 1: the node leads a term whose `Blank` has been applied here, and has not given that term up.
    fn may_lead(&self) -> Option<u64> {
        let begun = |term| term == self.blank || planted!(ServeBeforeBlank);
        self.group.leading().filter(|&term| begun(term) && term > self.ended)
    }

    /// Rule 3: the epoch is over. What is in flight may be committed or not; nobody may be told either.
    fn lose(&mut self, cause: String) -> Event {
        let term = self.epoch.take().expect("only an epoch can be lost");
        self.ended = self.ended.max(term);
        // With nothing in flight, what was executed is exactly what was committed.
        let unreleased = self.appended > self.chain.seq;
        self.in_flight.clear();
        self.appended = self.chain.seq;
        // What is committed stays so: a snapshot of it may be getting its name at this moment.
        self.marked = self.marked.take().filter(|(_, position)| position.is_some());
        if self.group.leading() == Some(term) {
            self.group.give_up(term);
        }
        Event::Lost { term, cause, unreleased }
    }

    /// Why the epoch cannot go on, if so.
    fn doubt(&self, term: u64) -> Option<String> {
        if planted!(DoubtIgnored) {
            return None;
        }
        if let Some(doubt) = self.group.doubt().filter(|doubt| doubt.term == term) {
            return Some(doubt.cause);
        }
        if self.group.leading() != Some(term) {
            return Some("the leadership is lost".to_owned());
        }
        let &(seq, since) = self.in_flight.front()?;
        let waited = since.elapsed();
        (waited > self.release_timeout)
            .then(|| format!("batch {seq} was not committed within {} ms", waited.as_millis()))
    }

    /// Looks at what has come out of the log. An epoch that must end first ends before the entry counts.
    fn observe(&mut self, applied: Applied) -> Option<Event> {
        let (log_id, entry) = match applied {
            Applied::Entry { log_id, entry } => (log_id, entry),
            Applied::Install { received, done } if self.epoch.is_none() => {
                return Some(Event::Install { received, done });
            }
            Applied::SnapshotWanted => return Some(Event::SnapshotWanted),
            install @ Applied::Install { .. } => {
                self.queue.push_front(install);
                return Some(self.lose("a snapshot has come from another leader".to_owned()));
            }
        };
        if let Some(term) = self.epoch
            && term_of(&log_id) != term
        {
            let other = term_of(&log_id);
            self.queue.push_front(Applied::Entry { log_id, entry });
            return Some(self.lose(format!("term {other} has begun")));
        }
        match entry {
            Committed::Blank => {
                self.blank = term_of(&log_id);
                self.pass(log_id);
                None
            }
            Committed::Membership(membership) => {
                self.membership = membership;
                self.pass(log_id);
                None
            }
            Committed::Batch(payload) => self.observe_batch(log_id, payload),
        }
    }

    fn observe_batch(&mut self, log_id: LogId, payload: Bytes) -> Option<Event> {
        let header = match effects::header(&payload) {
            Ok(header) => header,
            // It passed the log's checksums and those of the wire: a newer version made it, or a bug.
            Err(error) => return Some(Event::Failed(format!("entry {log_id} cannot be read: {error}"))),
        };
        let admitted = self.chain.admit(&header);
        self.pass(log_id);
        self.appended_bytes += payload.len() as u64;
        if !admitted {
            tracing::info!(%log_id, epoch = header.epoch, seq = header.seq, last = self.chain.seq, "a batch after a gap is dropped");
            // In an epoch of this node's own, the gap is a proposal of its own that was lost.
            return self.epoch.map(|_| self.lose(format!("a batch before batch {} was lost", header.seq)));
        }
        match self.epoch {
            Some(_) => {
                while self.in_flight.front().is_some_and(|&(seq, _)| seq <= header.seq) {
                    self.in_flight.pop_front();
                }
                None
            }
            None => {
                self.appended = self.chain.seq;
                Some(Event::Apply(payload))
            }
        }
    }

    /// The entry is part of the state now.
    fn pass(&mut self, log_id: LogId) {
        debug_assert!(self.applied.is_none_or(|last| last.index < log_id.index), "entries come in order");
        self.applied = Some(log_id);
        if let Some((seq, position @ None)) = &mut self.marked
            && self.chain.seq == *seq
        {
            *position =
                Some(Position { chain: self.chain, log_id, membership: Arc::clone(&self.membership) });
        }
    }
}

impl Journal for RaftJournal {
    fn append(&mut self, batch: Batch) {
        let term = self.epoch.expect("only a node that serves makes batches");
        assert_eq!(batch.seq, self.appended + 1, "a batch out of sequence");
        self.appended = batch.seq;
        self.in_flight.push_back((batch.seq, Instant::now()));
        self.group.propose(term, batch.payload.into());
    }

    fn released(&mut self) -> u64 {
        if planted!(ReplyBeforeCommit) {
            return self.appended;
        }
        self.chain.seq
    }

    fn poll(&mut self) -> Option<Event> {
        while !self.queue.is_empty() || self.group.take_applied(&mut self.queue, TAKE_BYTES_MAX) {
            let applied = self.queue.pop_front().expect("taken above");
            if let Some(event) = self.observe(applied) {
                return Some(event);
            }
        }
        let full = self.group.is_full();
        if full != self.full {
            // What this node cannot write piles up in its memory, even if others can.
            self.full = full;
            return Some(if full { Event::Full } else { Event::Room });
        }
        if let Some(term) = self.epoch {
            return self.doubt(term).map(|cause| self.lose(cause));
        }
        let term = self.may_lead()?;
        self.epoch = Some(term);
        Some(Event::Lead { term })
    }

    fn queued_bytes(&self) -> u64 {
        self.group.queued_bytes()
    }

    fn position(&mut self, seq: u64) -> Option<AuxFields> {
        if self.marked.as_ref().is_none_or(|&(marked, _)| marked != seq) {
            assert!(self.chain.seq <= seq, "a position that has passed unmarked");
            let known = self.applied.filter(|_| self.chain.seq == seq);
            let position = known.map(|log_id| Position {
                chain: self.chain,
                log_id,
                membership: Arc::clone(&self.membership),
            });
            self.marked = Some((seq, position));
        }
        let (_, position) = self.marked.as_ref().expect("set above");
        position.as_ref().map(Position::to_aux)
    }

    fn compact(&mut self, seq: u64, retention: Retention) {
        // None: the leader's snapshot, which is newer, has taken its place while it got its name.
        let Some((marked, Some(position))) = self.marked.take() else { return };
        assert_eq!(marked, seq, "two snapshots at a time");
        self.group.compact(position.meta(), retention);
    }

    fn flush(&mut self) -> Result<(), String> {
        self.group.flush()
    }

    fn replay(&self, after: &Aux, apply: &mut ApplyBatch<'_>) -> Result<(), String> {
        let start = Position::from_aux(after)?;
        let (mut chain, from) =
            start.map_or((Chain::default(), 0), |start| (start.chain, start.log_id.index + 1));
        let Some(last) = self.applied.filter(|last| last.index >= from) else {
            return if chain == self.chain {
                Ok(())
            } else {
                Err(format!("the snapshot is of {chain:?}, the state of {:?}", self.chain))
            };
        };
        self.group.read(from, last.index, &mut |log_id, entry| {
            let Committed::Batch(payload) = entry else { return Ok(()) };
            let header = effects::header(&payload).map_err(|error| format!("entry {log_id}: {error}"))?;
            if chain.admit(&header) { apply(&payload) } else { Ok(()) }
        })?;
        // The same entries in the same order make the same chain, or something is very wrong.
        if chain == self.chain {
            Ok(())
        } else {
            Err(format!("the log leads to {chain:?}, the state was {:?}", self.chain))
        }
    }

    fn begin_after(&mut self, _seq: u64) {
        unreachable!("a node of a cluster follows nobody by hand");
    }

    fn adopt(&mut self, snapshot: &Aux) -> Result<(), String> {
        let position = Position::from_aux(snapshot)?.ok_or("the snapshot is not of a node of a cluster")?;
        assert!(self.epoch.is_none(), "a leader's state is its own");
        if self.applied.is_some_and(|applied| applied.index > position.log_id.index) {
            return Err(format!("the snapshot is of entry {}, older than the state", position.log_id));
        }
        self.chain = position.chain;
        self.appended = self.chain.seq;
        self.applied = Some(position.log_id);
        self.membership = position.membership;
        // A snapshot being written is of an older state; it has been given up.
        self.marked = None;
        Ok(())
    }

    fn figures(&self) -> Figures {
        Figures {
            appended: self.appended,
            released: self.chain.seq,
            epoch: self.chain.epoch,
            applied_index: self.applied.map_or(0, |applied| applied.index),
            appended_bytes: self.appended_bytes,
            ..self.group.figures()
        }
    }
}
