//! What commands changed, written down as canonical commands, and the batches that the journal takes.
//!
//! ```text
//! batch   = header effect*
//! header  = version:u8  epoch:u64le  seq:u64le  time_ms:i64le
//! effect  = db:varint  argc:varint  (len:varint  bytes){argc}
//! ```
//!
//! One *unit* (a command, a whole EXEC, a whole script) never spans two batches: a batch is one journal entry, so a
//! unit is applied whole or not at all.

use crate::error::CommandError;
use crate::feed::{Feed, Piece};

/// A batch is cut at the first unit boundary past this many bytes.
pub const BATCH_BYTES_TARGET: usize = 1 << 20;
/// Bytes of effects after which a unit may write no more: it has to fit into one journal entry, whose limit of 4 GiB is
/// far enough off for the largest single command to be still on its way.
const UNIT_BYTES_MAX: usize = 1 << 30;
/// Bytes before the first effect of a batch.
pub const HEADER_BYTES: usize = 25;
const VERSION: u8 = 1;

/// One journal entry: effects of one turn of the event loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Position in the journal; the first batch ever is 1.
    pub seq: u64,
    /// Header and effects, as they go to disk.
    pub payload: Vec<u8>,
}

/// The effects being collected, and the sequence of batches.
#[derive(Debug)]
pub struct Effects {
    /// False while nothing keeps a journal: then effects only count as changes.
    enabled: bool,
    /// True while the engine applies a batch: what apply does is in the log already.
    applying: bool,
    /// True on a follower, whose state nobody but the leader may change.
    refused: bool,
    epoch: u64,
    /// The seq that the batch being collected will get.
    open_seq: u64,
    open: Vec<u8>,
    /// Length of the last batch: room for as much is made at once when the next one begins.
    last_len: usize,
    /// Length of `open` at the end of the last whole unit.
    whole: usize,
    cut: Vec<Batch>,
    time_ms: i64,
    /// What replicas of Redis's kind are told.
    feed: Feed,
    /// Changes since the last snapshot, as `rdb_changes_since_last_save` counts them.
    dirty: u64,
    /// [`UNIT_BYTES_MAX`], but for tests.
    pub(crate) unit_bytes_max: usize,
}

impl Effects {
    /// Nothing collected; the next batch will be `last_seq + 1`.
    pub fn new(enabled: bool, last_seq: u64) -> Self {
        Self {
            enabled,
            applying: false,
            refused: false,
            epoch: 0,
            open_seq: last_seq + 1,
            open: Vec::new(),
            last_len: 0,
            whole: 0,
            cut: Vec::new(),
            time_ms: 0,
            feed: Feed::default(),
            dirty: 0,
            unit_bytes_max: UNIT_BYTES_MAX,
        }
    }

    /// Is anything written down in the journal?
    pub fn enabled(&self) -> bool {
        self.enabled && !self.applying
    }

    /// Is anything written down at all: in the journal, or for replicas of Redis's kind?
    pub fn recorded(&self) -> bool {
        (self.enabled || self.feed.is_on()) && !self.applying
    }

    /// Are there replicas of Redis's kind to be told of effects?
    pub fn is_fed(&self) -> bool {
        self.feed.is_on() && !self.applying
    }

    /// From here on effects are written for replicas as well, or no more. Between turns.
    pub fn set_fed(&mut self, on: bool) {
        self.feed.switch(on);
    }

    /// The stream goes to one replica more, which knows of no database selected in it.
    pub fn select_anew(&mut self) {
        self.feed.select_anew();
    }

    /// Replicas of Redis's kind hear nothing of the running unit.
    pub(crate) fn stop_telling(&mut self) {
        self.feed.mute_unit();
    }

    /// The stream for replicas goes on from this offset, as that of the server followed so far. Not while anybody is fed.
    pub(crate) fn go_on_from(&mut self, offset: u64) {
        self.feed.go_on_from(offset);
    }

    /// Bytes of the stream for replicas up to here, as Redis's `master_repl_offset`.
    pub fn fed_offset(&self) -> u64 {
        self.feed.offset()
    }

    /// The pieces of the stream since the last call: after [`Effects::take`], which cuts them as it cuts batches.
    pub fn take_pieces(&mut self, into: &mut Vec<Piece>) {
        self.feed.take(into);
    }

    /// Turns the journal on or off between turns; nothing may be pending.
    pub fn set_enabled(&mut self, enabled: bool) {
        assert!(self.is_settled(), "switched in the middle of a batch");
        self.enabled = enabled;
    }

    /// From here on an effect is a bug, until this is taken back: this node follows, and it is not its leader or primary who speaks.
    pub(crate) fn set_refused(&mut self, refused: bool) {
        self.refused = refused;
    }

    /// Forgets what the host has not taken: the state that it led to is dropped.
    pub(crate) fn abandon(&mut self) {
        self.open.clear();
        self.whole = 0;
        self.cut.clear();
        self.feed.abandon();
    }

    pub(crate) fn set_applying(&mut self, applying: bool) {
        self.applying = applying;
    }

    /// Is the engine applying a batch?
    pub fn applying(&self) -> bool {
        self.applying
    }

    /// The leadership that the next batches belong to.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    pub(crate) fn set_time(&mut self, now_ms: i64) {
        self.time_ms = now_ms;
    }

    /// The seq of the batch that effects logged now will be in.
    pub fn open_seq(&self) -> u64 {
        self.open_seq
    }

    /// The newest seq that holds an effect (0: none yet): a reply that may depend on anything waits for it.
    pub fn newest_seq(&self) -> u64 {
        if self.open.is_empty() { self.open_seq - 1 } else { self.open_seq }
    }

    /// After recovery or a foreign batch: the journal's newest seq.
    pub fn set_last_seq(&mut self, seq: u64) {
        assert!(self.is_settled(), "sequence moved under pending effects");
        self.open_seq = seq + 1;
    }

    /// Is everything logged so far with the journal? Only then is the state that of a whole batch.
    pub fn is_settled(&self) -> bool {
        self.open.is_empty() && self.cut.is_empty()
    }

    /// Bytes collected that the host has not taken yet.
    pub fn collected_bytes(&self) -> usize {
        self.open.len() + self.cut.iter().map(|batch| batch.payload.len()).sum::<usize>() + self.feed.len()
    }

    /// Has the running unit written anything?
    pub fn in_unit(&self) -> bool {
        self.open.len() > self.whole
    }

    /// Has the running unit told replicas of Redis's kind anything?
    pub fn tells_in_unit(&self) -> bool {
        self.feed.unit_len() > 0
    }

    /// Has the running unit written so much that nothing more may be added?
    pub fn unit_is_full(&self) -> bool {
        (self.open.len() - self.whole).max(self.feed.unit_len()) > self.unit_bytes_max
    }

    /// May the running unit write so many bytes more?
    pub fn has_room_for(&self, bytes: usize) -> bool {
        let written = (self.open.len() - self.whole).max(self.feed.unit_len());
        written.saturating_add(bytes) <= self.unit_bytes_max
    }

    /// Changes since the counter was last taken back.
    pub fn dirty(&self) -> u64 {
        self.dirty
    }

    /// Counts changes that clients can see (`INFO`, save rules).
    pub fn add_dirty(&mut self, changes: u64) {
        self.dirty += changes;
    }

    /// A snapshot of the state with `saved` changes is durable.
    pub fn forget_dirty(&mut self, saved: u64) {
        self.dirty = self.dirty.saturating_sub(saved);
    }

    /// Writes one effect down: a canonical command on database `db`.
    pub fn log(&mut self, db: usize, argv: &[&[u8]]) {
        self.keep(db, argv);
        self.tell(db, argv);
    }

    /// Writes one effect down for replicas of Redis's kind alone: in their words, or because it is nothing to be kept.
    pub fn tell(&mut self, db: usize, argv: &[&[u8]]) {
        if self.is_fed() {
            self.feed.add(db, argv);
        }
    }

    /// Says something to replicas that changes nothing, between units.
    pub fn say(&mut self, argv: &[&[u8]]) {
        if self.is_fed() {
            self.feed.say(argv);
        }
    }

    /// Asks the replicas how far they have come; between units.
    pub fn ask_replicas(&mut self) {
        if self.is_fed() {
            self.feed.ask();
        }
    }

    /// Writes one effect down in the journal alone: replicas of Redis's kind hear of it in other words, or not at all.
    pub fn keep(&mut self, db: usize, argv: &[&[u8]]) {
        if !self.enabled() {
            return;
        }
        debug_assert!(!argv.is_empty());
        assert!(!self.refused, "a follower changed its state by itself");
        if self.open.is_empty() {
            self.open.reserve(self.last_len.clamp(HEADER_BYTES, BATCH_BYTES_TARGET));
            self.open.resize(HEADER_BYTES, 0);
        }
        put_varint(&mut self.open, db as u64);
        put_varint(&mut self.open, argv.len() as u64);
        for arg in argv {
            put_varint(&mut self.open, arg.len() as u64);
            self.open.extend_from_slice(arg);
        }
    }

    /// Ends an atomic unit; cuts the batch when it has become large. True when the journal gets anything of it. `apart`:
    /// it was a number of removals that have nothing to do with each other, each of which replicas may see alone.
    pub fn end_unit(&mut self, apart: bool) -> bool {
        if self.feed.is_on() {
            self.feed.end_unit(apart);
        }
        let logged = self.in_unit();
        self.whole = self.open.len();
        if self.open.len() >= BATCH_BYTES_TARGET {
            self.cut_batch();
        }
        logged
    }

    /// The batches of this turn, oldest first. Called by the host between units.
    pub fn take(&mut self, into: &mut Vec<Batch>) {
        assert_eq!(self.open.len(), self.whole, "a turn ended inside a unit");
        if !self.open.is_empty() {
            self.cut_batch();
        }
        if self.feed.is_on() {
            // What changes nothing comes after the newest batch: perhaps it tells of that.
            self.feed.cut(self.newest_seq());
        }
        into.append(&mut self.cut);
    }

    fn cut_batch(&mut self) {
        let mut payload = std::mem::take(&mut self.open);
        self.whole = 0;
        self.last_len = payload.len();
        payload[0] = VERSION;
        payload[1..9].copy_from_slice(&self.epoch.to_le_bytes());
        payload[9..17].copy_from_slice(&self.open_seq.to_le_bytes());
        payload[17..25].copy_from_slice(&self.time_ms.to_le_bytes());
        self.feed.cut(self.open_seq);
        self.cut.push(Batch { seq: self.open_seq, payload });
        self.open_seq += 1;
    }
}

/// The effect that removes a key: as the `lazyfree-lazy-` directives tell Redis's replicas to go about it.
pub(crate) fn removal(lazy: bool) -> &'static [u8] {
    if lazy { b"UNLINK" } else { b"DEL" }
}

/// What the header of a batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub epoch: u64,
    pub seq: u64,
    /// The leader's clock when the turn began.
    pub time_ms: i64,
}

/// Why a batch cannot be read. The bytes passed the log's checksum, so this is a bug or a newer version's file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("batch of {0} bytes is shorter than its header")]
    Short(usize),
    #[error("batch has format version {0}; this program reads version {VERSION}")]
    Version(u8),
    #[error("batch {seq}: effect at byte {offset} is cut off or malformed")]
    Malformed { seq: u64, offset: usize },
    #[error("batch {seq} of epoch {epoch} does not follow batch {last}")]
    Chain { epoch: u64, seq: u64, last: u64 },
    #[error("batch {seq} has an effect on database {db}, but `databases` is {databases}")]
    Database { seq: u64, db: usize, databases: usize },
    #[error("batch {seq}: effect '{command}' failed: {error}")]
    Failed { seq: u64, command: String, error: String },
}

impl BatchError {
    pub(crate) fn failed(seq: u64, command: &[u8], error: &CommandError) -> Self {
        Self::Failed {
            seq,
            command: String::from_utf8_lossy(command).into_owned(),
            error: String::from_utf8_lossy(&error.text()).into_owned(),
        }
    }
}

/// Reads the header of a batch.
pub fn header(payload: &[u8]) -> Result<BatchHeader, BatchError> {
    if payload.len() < HEADER_BYTES {
        return Err(BatchError::Short(payload.len()));
    }
    if payload[0] != VERSION {
        return Err(BatchError::Version(payload[0]));
    }
    let word = |at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().expect("eight bytes"));
    Ok(BatchHeader { epoch: word(1), seq: word(9), time_ms: word(17) as i64 })
}

/// The effects of a batch, one after the other.
pub struct EffectIter<'a> {
    payload: &'a [u8],
    at: usize,
    seq: u64,
}

/// Iterates over a batch's effects; `argv` is reused between calls of [`EffectIter::next`].
pub fn effects(payload: &[u8]) -> Result<EffectIter<'_>, BatchError> {
    let header = header(payload)?;
    Ok(EffectIter { payload, at: HEADER_BYTES, seq: header.seq })
}

impl<'a> EffectIter<'a> {
    /// Reads the next effect into `argv` and returns its database; `None` at the end.
    pub fn next(&mut self, argv: &mut Vec<&'a [u8]>) -> Result<Option<usize>, BatchError> {
        argv.clear();
        if self.at == self.payload.len() {
            return Ok(None);
        }
        let start = self.at;
        self.read(argv).map(Some).ok_or(BatchError::Malformed { seq: self.seq, offset: start })
    }

    fn read(&mut self, argv: &mut Vec<&'a [u8]>) -> Option<usize> {
        let db = self.varint()?;
        let argc = self.varint()?;
        if argc == 0 {
            return None;
        }
        for _ in 0..argc {
            let len = usize::try_from(self.varint()?).ok()?;
            let end = self.at.checked_add(len).filter(|&end| end <= self.payload.len())?;
            argv.push(&self.payload[self.at..end]);
            self.at = end;
        }
        usize::try_from(db).ok()
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.payload.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

fn put_varint(buf: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buf.push(value as u8 | 0x80);
        value >>= 7;
    }
    buf.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_its_effects_in_order() {
        let mut effects = Effects::new(true, 41);
        effects.set_time(1234);
        effects.log(0, &[b"SET", b"k", b"v"]);
        effects.log(300, &[b"DEL", &[0xff; 200]]);
        assert!(effects.end_unit(false));
        let mut batches = Vec::new();
        effects.take(&mut batches);
        assert_eq!(batches.len(), 1);
        let payload = &batches[0].payload;
        assert_eq!(header(payload), Ok(BatchHeader { epoch: 0, seq: 42, time_ms: 1234 }));
        let mut iter = super::effects(payload).unwrap();
        let mut argv = Vec::new();
        assert_eq!(iter.next(&mut argv), Ok(Some(0)));
        assert_eq!(argv, [b"SET".as_slice(), b"k", b"v"]);
        assert_eq!(iter.next(&mut argv), Ok(Some(300)));
        assert_eq!(argv[1].len(), 200);
        assert_eq!(iter.next(&mut argv), Ok(None));
    }

    #[test]
    fn a_batch_is_cut_between_units_only() {
        let mut effects = Effects::new(true, 0);
        let big = vec![b'x'; BATCH_BYTES_TARGET];
        effects.log(0, &[b"SET", b"a", &big]);
        effects.log(0, &[b"SET", b"b", &big]);
        assert_eq!(effects.open_seq(), 1);
        effects.end_unit(false);
        assert_eq!(effects.open_seq(), 2);
        effects.log(0, &[b"DEL", b"a"]);
        effects.end_unit(false);
        let mut batches = Vec::new();
        effects.take(&mut batches);
        assert_eq!(batches.iter().map(|b| b.seq).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn every_cut_of_a_batch_is_refused_or_shorter() {
        let mut effects = Effects::new(true, 0);
        effects.log(0, &[b"SET", b"key", b"value"]);
        effects.end_unit(false);
        let mut batches = Vec::new();
        effects.take(&mut batches);
        let payload = &batches[0].payload;
        for len in 0..payload.len() {
            let Ok(mut iter) = super::effects(&payload[..len]) else { continue };
            let mut argv = Vec::new();
            assert!(!matches!(iter.next(&mut argv), Ok(Some(_))), "cut at {len}");
        }
    }
}
