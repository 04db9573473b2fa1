//! The journal of a single node: the log on its own disk.

use std::collections::VecDeque;
use std::sync::Arc;

use cairn_engine::effects::Batch;
use cairn_engine::rdb::Aux;
use cairn_storage::log::LogReader;
use cairn_storage::writer::{LogWriter, Op, Until, WriterState};

use super::{ApplyBatch, AuxFields, Event, Figures, Journal, Retention, purgeable};

/// Batches become log entries; an entry's index is the batch's sequence number.
pub struct LocalJournal {
    writer: Arc<LogWriter>,
    appended: u64,
    released: u64,
    appended_bytes: u64,
    state: WriterState,
    events: VecDeque<Event>,
}

impl LocalJournal {
    /// Goes on after the entry `last_seq`, the last in the writer's log, with `replayed_bytes` of payload after the
    /// snapshot.
    pub fn new(writer: Arc<LogWriter>, last_seq: u64, replayed_bytes: u64) -> Self {
        Self {
            writer,
            appended: last_seq,
            released: last_seq,
            appended_bytes: replayed_bytes,
            state: WriterState::Healthy,
            events: VecDeque::new(),
        }
    }

    /// Entries for reading.
    fn reader(&self) -> LogReader {
        self.writer.reader()
    }
}

impl Journal for LocalJournal {
    fn append(&mut self, batch: Batch) {
        assert_eq!(batch.seq, self.appended + 1, "a batch out of sequence");
        self.appended = batch.seq;
        self.appended_bytes += batch.payload.len() as u64;
        self.writer.append_now(batch.seq, 0, batch.payload);
    }

    fn released(&mut self) -> u64 {
        // A policy that was made stricter may make the writer's figure fall; what was released stays so.
        self.released = self.released.max(self.writer.released());
        assert!(self.released <= self.appended, "released what was never appended");
        self.released
    }

    fn poll(&mut self) -> Option<Event> {
        let state = self.writer.progress().state;
        if state != self.state {
            match &state {
                WriterState::Full { .. } if !matches!(self.state, WriterState::Full { .. }) => {
                    self.events.push_back(Event::Full);
                }
                WriterState::Healthy => self.events.push_back(Event::Room),
                WriterState::Failed(cause) => self.events.push_back(Event::Failed(cause.clone())),
                WriterState::Full { .. } => {}
            }
            self.state = state;
        }
        self.events.pop_front()
    }

    fn queued_bytes(&self) -> u64 {
        self.writer.queued_bytes()
    }

    fn position(&mut self, seq: u64) -> Option<AuxFields> {
        (self.released() >= seq).then(Vec::new)
    }

    fn compact(&mut self, seq: u64, retention: Retention) {
        let upto = purgeable(&self.reader(), seq, retention);
        if upto > 0 {
            self.writer.purge(upto);
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        self.writer.flush_and_sync().map_err(|error| error.to_string())
    }

    fn replay(&self, after: &Aux, apply: &mut ApplyBatch<'_>) -> Result<(), String> {
        for entry in self.reader().read(after.seq.unwrap_or(0) + 1).map_err(|error| error.to_string())? {
            let entry = entry.map_err(|error| error.to_string())?;
            apply(&entry.payload)?;
        }
        Ok(())
    }

    fn adopt(&mut self, _snapshot: &Aux) -> Result<(), String> {
        Err("a single node has no leader".to_owned())
    }

    fn begin_after(&mut self, seq: u64) {
        assert_eq!(self.released, self.appended, "what was appended is given up unreleased");
        assert!(seq > self.appended, "a log goes forwards");
        // Until it has been carried out, a start finds a snapshot that is newer than the log, which goes on after it.
        self.writer.submit([Op::Restart(seq)], Until::Synced, Box::new(|_| {}));
        (self.appended, self.released) = (seq, seq);
    }

    fn synced(&self) -> u64 {
        self.writer.progress().synced
    }

    fn figures(&self) -> Figures {
        let progress = self.writer.progress();
        Figures {
            appended: self.appended,
            released: self.released,
            synced: progress.synced,
            syncs: progress.syncs,
            last_sync_us: progress.last_sync_us,
            bytes_on_disk: self.reader().size_on_disk(),
            appended_bytes: self.appended_bytes,
            ..Figures::default()
        }
    }
}
