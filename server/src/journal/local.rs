//! The journal of a single node: the log on its own disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cairn_engine::effects::Batch;
use cairn_storage::log::LogReader;
use cairn_storage::writer::{LogWriter, WriterState};

use super::{ApplyBatch, Event, Figures, Journal, Retention};

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

    fn compact(&mut self, seq: u64, retention: Retention) {
        let reader = self.reader();
        let segments = self.writer.segments();
        let mut total: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let mut upto = 0;
        for segment in &segments {
            let old = retention.seconds == 0
                || reader
                    .modified(segment)
                    .ok()
                    .and_then(|at| SystemTime::now().duration_since(at).ok())
                    .is_some_and(|age| age > Duration::from_secs(retention.seconds));
            // A segment goes when the snapshot covers it and it is beyond what retention keeps.
            if segment.last_index > seq || (total <= retention.bytes && !(retention.seconds > 0 && old)) {
                break;
            }
            total -= segment.bytes;
            upto = segment.last_index;
        }
        if upto > 0 {
            self.writer.purge(upto);
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        self.writer.flush_and_sync().map_err(|error| error.to_string())
    }

    fn replay(&self, from: u64, apply: &mut ApplyBatch<'_>) -> Result<(), String> {
        for entry in self.reader().read(from).map_err(|error| error.to_string())? {
            let entry = entry.map_err(|error| error.to_string())?;
            apply(entry.index, &entry.payload)?;
        }
        Ok(())
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
        }
    }
}
