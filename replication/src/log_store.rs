//! openraft's log on the server's log: votes and entries in one file, in one order.
//!
//! Raft's entry `i` is the log's entry `i + 1`, for Raft counts from 0.
//!
//! An append returns at once: the entries are queued for the log thread and kept in memory, where the replication to the other
//! nodes reads them while this node's disk is still busy; openraft is called back from the log thread. Recent entries stay in
//! memory up to [`RECENT_BYTES_MAX`], older ones are read from the mapped segments.
//!
//! # What was purged
//!
//! openraft wants the id, with the term, of the last entry that is gone. The log knows no terms of entries that it does not
//! have, so a purge up to `i` leaves entry `i` itself where it is, unseen. Only when the log restarts beyond its end, because a
//! snapshot has been installed that is newer than all of it, there is no such entry; then the id is written down beside the
//! vote.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard};

use bincode::{Decode, Encode};
use bytes::Bytes;
use cairn_planted::planted;
use cairn_storage::log::{Entries, Log, LogError, LogReader, Recovered};
use cairn_storage::writer::{Completion, LogWriter, Op, Until};
use futures_util::Stream;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use crate::entry::{self, log_id, term_of};
use crate::handle::Committed;
use crate::types::{Entry, LogId, NodeId, TypeConfig, Vote};

/// Bytes of recent entries kept in memory.
pub const RECENT_BYTES_MAX: usize = 64 << 20;

/// Bytes of entries that go into one request to a follower, or are applied in one go; at least one entry does.
pub const READ_BYTES_MAX: usize = 1 << 20;

/// What an entry costs in memory besides its batch.
const ENTRY_OVERHEAD: usize = 96;

/// The log as openraft sees it; cheap to clone.
#[derive(Clone)]
pub struct LogStore {
    writer: Arc<LogWriter>,
    reader: LogReader,
    state: Arc<Mutex<State>>,
}

struct State {
    vote: Option<Vote>,
    /// The last entry that is gone.
    purged: Option<LogId>,
    /// Where the log last restarted beyond its end.
    restarted: Option<LogId>,
    last: Option<LogId>,
    /// The last entries, without gaps up to `last`.
    recent: VecDeque<Entry>,
    recent_bytes: usize,
}

/// What is kept in the log's vote records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
struct HardState {
    /// Term, candidate, and whether a quorum has voted for it.
    vote: Option<(u64, NodeId, bool)>,
    /// Term and index.
    restarted: Option<(u64, u64)>,
}

/// What a log says when it is opened.
pub struct Opened {
    state: State,
    /// The log has to restart here: a crash came between the note of it and the restart.
    unfinished: Option<LogId>,
}

/// The log's number of Raft's entry `index`.
fn stored(index: u64) -> u64 {
    index + 1
}

impl Opened {
    /// Looks at a log that has been opened. `snapshot` is the last entry of the snapshot that the state starts from: the log
    /// may have been purged up to just there before it became Raft's, or to make up for a crash.
    pub fn new(log: &Log, recovered: &Recovered, snapshot: Option<LogId>) -> Result<Opened, LogError> {
        let corrupt = |what: String| LogError::Io {
            doing: "read the vote in",
            file: "log".into(),
            source: entry::invalid(what),
        };
        let hard = match &recovered.vote {
            Some(bytes) => HardState::decode(bytes).map_err(|error| corrupt(error.to_string()))?,
            None => HardState::default(),
        };
        let restarted = hard.restarted.map(|(term, index)| log_id(term, index));
        let ends_at = |id: &LogId, number: u64| stored(id.index) == number;
        let restarted = match snapshot.filter(|last| ends_at(last, recovered.purged)) {
            Some(snapshot) => {
                restarted.filter(|restarted| restarted.index > snapshot.index).or(Some(snapshot))
            }
            None => restarted,
        };
        let id_of = |number: u64| -> Result<LogId, LogError> {
            let entry = log
                .read(number)?
                .next()
                .unwrap_or_else(|| Err(corrupt(format!("entry {number} is missing"))))?;
            Ok(log_id(entry.term, entry.index - 1))
        };
        let empty = recovered.last_index < recovered.first_index;
        let unfinished = restarted.filter(|restarted| stored(restarted.index) > recovered.purged);
        let purged = match (restarted, recovered.purged) {
            _ if unfinished.is_some() => unfinished,
            (_, 0) => None,
            (Some(restarted), purged) if ends_at(&restarted, purged) => Some(restarted),
            _ if !empty => Some(id_of(recovered.first_index)?),
            (_, purged) => {
                return Err(corrupt(format!(
                    "the log was purged up to {purged}, and nothing says in which term"
                )));
            }
        };
        let last = if empty || unfinished.is_some() { purged } else { Some(id_of(recovered.last_index)?) };
        let vote = hard.vote.map(|(term, node, committed)| match committed {
            true => Vote::new_committed(term, node),
            false => Vote::new(term, node),
        });
        let state = State { vote, purged, restarted, last, recent: VecDeque::new(), recent_bytes: 0 };
        Ok(Opened { state, unfinished })
    }

    /// Whether the node has ever been a member: it has voted, or it has entries.
    pub fn is_member(&self) -> bool {
        self.state.vote.is_some() || self.state.last.is_some()
    }

    /// Whether it has ever voted.
    pub fn has_voted(&self) -> bool {
        self.state.vote.is_some()
    }

    /// The last entry.
    pub fn last(&self) -> Option<LogId> {
        self.state.last
    }
}

impl HardState {
    fn encode(&self) -> Bytes {
        bincode::encode_to_vec(self, bincode::config::standard()).expect("memory takes a few bytes").into()
    }

    fn decode(bytes: &[u8]) -> io::Result<HardState> {
        let config = bincode::config::standard().with_limit::<1024>();
        match bincode::decode_from_slice(bytes, config) {
            Ok((hard, used)) if used == bytes.len() => Ok(hard),
            Ok(_) => Err(entry::invalid("bytes after a vote".into())),
            Err(error) => Err(entry::invalid(format!("a vote that cannot be read: {error}"))),
        }
    }
}

impl LogStore {
    /// `writer` writes the log that was `opened`.
    pub fn new(writer: Arc<LogWriter>, opened: Opened) -> LogStore {
        if let Some(restart) = opened.unfinished {
            let done = Box::new(|_| ());
            writer.submit([Op::Restart(stored(restart.index))], Until::Synced, done);
        }
        LogStore { reader: writer.reader(), writer, state: Arc::new(Mutex::new(opened.state)) }
    }

    /// The writer below.
    pub fn writer(&self) -> &Arc<LogWriter> {
        &self.writer
    }

    /// The last entry, on disk or on its way.
    pub fn last(&self) -> Option<LogId> {
        self.state().last
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it has the state")
    }

    /// Writes records and waits until they are on disk.
    async fn write(&self, ops: Vec<Op>) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        let done = Box::new(move |result| drop(done.send(result)));
        self.writer.submit(ops, Until::Synced, done);
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(cause)) => Err(io::Error::other(cause)),
            Err(_) => Err(io::Error::other("the log writer has gone")),
        }
    }

    /// Reads entries `from..=to` again that the caller knows to be committed. A majority may have been faster than this node's
    /// disk: what has not been written yet comes from memory.
    pub fn read_committed(
        &self,
        from: u64,
        to: u64,
    ) -> impl Iterator<Item = io::Result<(LogId, Committed)>> + use<> {
        let (store, mut next, mut read) = (self.clone(), from, VecDeque::new());
        std::iter::from_fn(move || {
            if read.is_empty() && next <= to {
                match store.read(next, to + 1, READ_BYTES_MAX) {
                    Ok(entries) => read.extend(entries),
                    Err(error) => {
                        next = to + 1;
                        return Some(Err(error));
                    }
                }
            }
            let entry: Entry = read.pop_front()?;
            let (wanted, found) = (next, entry.log_id.index);
            next = found + 1;
            if found != wanted {
                (next, read) = (to + 1, VecDeque::new());
                return Some(Err(entry::invalid(format!("entry {wanted} is not kept any more"))));
            }
            Some(Ok(entry::committed(entry)))
        })
    }

    /// Entries `from..to` as far as there are any, at most about `bytes_max` bytes of them, at least one.
    fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let (from, recent_from, to, recent) = {
            let state = self.state();
            let from = from.max(state.purged.map_or(0, |purged| purged.index + 1));
            let to = to.min(state.last.map_or(0, |last| last.index + 1));
            let recent_from = state.recent.front().map_or(to, |entry| entry.log_id.index);
            let begin = from.max(recent_from);
            let skip = (begin - recent_from.min(begin)) as usize;
            let take = to.saturating_sub(begin) as usize;
            let mut room = bytes_max;
            let fits = |entry: &&Entry| {
                let left = room.saturating_sub(size(entry));
                std::mem::replace(&mut room, left) > 0
            };
            let older_first = from < recent_from;
            let recent: Vec<Entry> =
                state.recent.iter().skip(skip).take(take).take_while(fits).cloned().collect();
            // What is older is read first, and then the limit is likely to be reached already.
            (from, recent_from, to, if older_first && bytes_max != usize::MAX { Vec::new() } else { recent })
        };
        if from >= recent_from.min(to) {
            return Ok(recent);
        }
        let mut entries = Vec::new();
        let mut room = bytes_max;
        for entry in
            committed_entries(&self.reader, from, recent_from.min(to) - 1).map_err(io::Error::other)?
        {
            let entry = entry.map_err(io::Error::other)?;
            room = room.saturating_sub(size(&entry));
            entries.push(entry);
            if room == 0 {
                return Ok(entries);
            }
        }
        entries.extend(recent);
        Ok(entries)
    }
}

/// What an entry costs in memory.
fn size(entry: &Entry) -> usize {
    let batch = match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    batch + ENTRY_OVERHEAD
}

/// Reads entries `from..=to` from the log's files.
fn committed_entries(
    reader: &LogReader,
    from: u64,
    to: u64,
) -> Result<impl Iterator<Item = Result<Entry, LogError>> + use<>, LogError> {
    struct Iter {
        entries: Entries,
        left: u64,
    }
    impl Iterator for Iter {
        type Item = Result<Entry, LogError>;

        fn next(&mut self) -> Option<Self::Item> {
            self.left = self.left.checked_sub(1)?;
            let stored = self.entries.next()?;
            Some(stored.and_then(|stored| {
                let log_id = log_id(stored.term, stored.index - 1);
                entry::decode(log_id, &stored.payload).map_err(|source| LogError::Io {
                    doing: "read an entry of",
                    file: "log".into(),
                    source,
                })
            }))
        }
    }
    Ok(Iter { entries: reader.read(stored(from))?, left: (to + 1).saturating_sub(from) })
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(&from) => from,
        Bound::Excluded(&before) => before + 1,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(&last) => last.saturating_add(1),
        Bound::Excluded(&to) => to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        let (from, to) = bounds(&range);
        self.read(from, to, usize::MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.state().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES_MAX)
    }

    async fn entries_stream<R>(&mut self, range: R) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let begin = (self.clone(), from, VecDeque::new());
        Box::pin(futures_util::stream::try_unfold(begin, move |(store, from, mut read)| async move {
            if read.is_empty() && from < to {
                read = VecDeque::from(store.read(from, to, READ_BYTES_MAX)?);
            }
            let Some(entry): Option<Entry> = read.pop_front() else { return Ok(None) };
            let next = entry.log_id.index + 1;
            Ok(Some((entry, (store, next, read))))
        }))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = self.state();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    /// The vote is on disk when this returns, whatever the policy: a node that forgets whom it voted for elects two leaders.
    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let hard = self.state().hard_state(Some(*vote));
        let ops = vec![Op::Vote(hard.encode())];
        if planted!(VoteNotSynced) {
            self.writer.submit(ops, Until::Synced, Box::new(|_| ()));
        } else {
            self.write(ops).await?;
        }
        self.state().vote = Some(*vote);
        Ok(())
    }

    /// Written with the next group. Nothing relies on it but tools that look at a log.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.writer.note_committed(stored(committed.index));
        }
        Ok(())
    }

    /// Always none: openraft would apply everything committed before it takes part in the group again. What is committed
    /// it learns anew, from the leader or by leading.
    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(None)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut ops = Vec::new();
        // Held until the records are queued: their order in the log is the order in memory.
        let mut state = self.state();
        let written = self.writer.progress().written;
        for entry in entries {
            let expected = state.last.map_or(0, |last| last.index + 1);
            assert_eq!(entry.log_id.index, expected, "openraft appends without gaps");
            let (head, payload) = entry::encode(&entry);
            let (index, term) = (stored(entry.log_id.index), term_of(&entry.log_id));
            ops.push(Op::Entry { index, term, head, payload });
            state.last = Some(entry.log_id);
            state.recent_bytes += size(&entry);
            state.recent.push_back(entry);
        }
        state.forget_written(written);
        let mut done: Completion = Box::new(move |result: Result<(), String>| {
            callback.io_completed(result.map_err(io::Error::other))
        });
        if planted!(AcknowledgedBeforeFlush) {
            std::mem::replace(&mut done, Box::new(|_| ()))(Ok(()));
        }
        self.writer.submit(ops, Until::Released, done);
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        {
            let mut state = self.state();
            let keep = last.map_or(0, |last| last.index + 1);
            if state.last.map_or(0, |last| last.index + 1) <= keep {
                return Ok(());
            }
            while let Some(entry) = state.recent.pop_back_if(|entry| entry.log_id.index >= keep) {
                state.recent_bytes -= size(&entry);
            }
            state.last = last.or(state.purged);
        }
        if planted!(TruncationNotWritten) {
            return Ok(());
        }
        // On disk before anything that relies on it, such as a snapshot that takes the place of these entries.
        self.write(vec![Op::TruncateAfter(last.map_or(0, |last| stored(last.index)))]).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let ops = {
            let mut state = self.state();
            if state.purged >= Some(upto) {
                return Ok(());
            }
            state.purged = Some(upto);
            while let Some(entry) = state.recent.pop_front_if(|entry| entry.log_id.index <= upto.index) {
                state.recent_bytes -= size(&entry);
            }
            if state.last.is_some_and(|last| last.index >= upto.index) {
                // All but the entry itself, for its term.
                if upto.index > 0 {
                    self.writer.purge(stored(upto.index - 1));
                }
                return Ok(());
            }
            state.last = Some(upto);
            state.restarted = Some(upto);
            let vote = state.vote;
            vec![Op::Vote(state.hard_state(vote).encode()), Op::Restart(stored(upto.index))]
        };
        self.write(ops).await
    }
}

impl State {
    fn hard_state(&self, vote: Option<Vote>) -> HardState {
        HardState {
            vote: vote.map(|vote| (vote.leader_id.term, vote.leader_id.voted_for, vote.committed)),
            restarted: self.restarted.map(|restarted| (term_of(&restarted), restarted.index)),
        }
    }

    /// Gives up old entries that can be read from the files.
    fn forget_written(&mut self, written: u64) {
        while self.recent_bytes > RECENT_BYTES_MAX {
            let old = self.recent.pop_front_if(|entry| stored(entry.log_id.index) <= written);
            let Some(old) = old else { break };
            self.recent_bytes -= size(&old);
        }
    }
}
