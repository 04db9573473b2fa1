//! Feeding replicas of Redis's kind: a snapshot of the state after a batch, then everything after that batch.
//!
//! The engine writes the stream ([`cairn_engine::feed`]) in pieces, each of which depends on a batch. A piece is given to
//! replicas when its batch is released, and a snapshot is given to one when the batch that it is the state after is: a replica
//! never hears of what could still be lost. Pieces made before a snapshot was taken are in it, those after it are not; the
//! offset in the stream at which it was taken tells them apart.
//!
//! ```text
//! Waiting    until fewer than DUMPS_MAX snapshots are under way
//! Taken      until its batch is released
//! Sending    a thread serialises, the socket takes
//! Sent       with a mark at its end: until the replica says that it has found it
//! Online     pieces go to the socket as they are released
//! ```
//!
//! What is released meanwhile is kept for a replica that is not online yet, and counts for `client-output-buffer-limit
//! replica` like what it has not read. When the last replica goes, the stream ends; the next one begins another.

mod dump;

use std::collections::VecDeque;
use std::sync::mpsc::TryRecvError;

use bytes::Bytes;
use cairn_engine::client::{Client, FeedStage};
use cairn_engine::feed::Piece;
use cairn_engine::host::{Host, LogLevel};
use cairn_engine::keyspace::Snapshot;
use cairn_engine::{Engine, Slot};
use cairn_proto::OutBuf;
use rand::TryRng;
use rand::rngs::SysRng;

use super::Executor;
use super::session::Session;
use dump::{Form, Part, Parts};

/// Snapshots for replicas at the same time; each holds a state and a thread.
const DUMPS_MAX: usize = 2;
/// Bytes of a snapshot in a replica's output, before the socket has taken them.
const OUTPUT_BYTES: usize = 1 << 20;
/// Parts of the stream from so many bytes on are shared by those who are fed; shorter ones are copied for each.
const SHARED_BYTES_MIN: usize = 16 << 10;
/// Half of the letters of a mark.
const MARK_BYTES: usize = 20;

/// Everybody who is fed.
#[derive(Default)]
pub(super) struct Feeds {
    feeds: Vec<Feed>,
    /// Parts of the stream that are not released yet, oldest first, each with its offset in the stream.
    unreleased: VecDeque<(u64, Piece)>,
    /// The stream's length up to the end of those.
    offset: u64,
    taken: Vec<Piece>,
    pinged_at_ms: i64,
    /// Somebody's output was full while there was more.
    held_back: bool,
}

struct Feed {
    id: u64,
    slot: Slot,
    step: Step,
    /// The stream's offset at which its snapshot was taken.
    from: u64,
    /// Released, and to follow the snapshot.
    backlog: OutBuf,
    /// Something of the snapshot is in its output.
    begun: bool,
    /// How far the socket was when it last took something, and when that was.
    sent: u64,
    sent_at_ms: i64,
    /// When its snapshot was sent.
    online_at_ms: i64,
}

enum Step {
    Waiting,
    Taken(Box<Snapshot>),
    Sending(Parts),
    Sent,
    Online,
}

impl Feeds {
    /// Is nobody fed?
    pub fn is_idle(&self) -> bool {
        self.feeds.is_empty()
    }

    /// Takes over what the engine has written for replicas, or ends the stream when the last one has gone. To be called when
    /// the engine's batches have been taken.
    pub fn collect(&mut self, engine: &mut Engine) {
        if self.is_idle() {
            self.unreleased.clear();
            engine.shared.fed_bytes = 0;
            return engine.feed(false);
        }
        engine.shared.effects.take_pieces(&mut self.taken);
        for piece in self.taken.drain(..) {
            let end = self.offset + piece.bytes.len() as u64;
            self.unreleased.push_back((self.offset, piece));
            self.offset = end;
        }
        debug_assert_eq!(self.offset, engine.shared.effects.fed_offset());
    }

    /// Adds a PING to the stream when it is time for one.
    pub fn ping(&mut self, engine: &mut Engine) {
        let now_ms = engine.shared.now_ms;
        let period_ms = i64::from(engine.shared.config.repl_ping_replica_period) * 1000;
        if now_ms - self.pinged_at_ms >= period_ms {
            self.pinged_at_ms = now_ms;
            engine.shared.effects.say(&[b"PING"]);
        }
    }

    /// Gives what is released to those who are to hear of it.
    fn release(&mut self, released: u64) {
        while let Some((offset, piece)) = self.unreleased.pop_front() {
            if piece.seq > released {
                self.unreleased.push_front((offset, piece));
                return;
            }
            let listeners = self
                .feeds
                .iter_mut()
                .filter(|feed| !matches!(feed.step, Step::Waiting) && offset >= feed.from);
            if piece.bytes.len() < SHARED_BYTES_MIN {
                listeners.for_each(|feed| feed.backlog.append(&piece.bytes));
            } else {
                let bytes = Bytes::from(piece.bytes);
                listeners.for_each(|feed| feed.backlog.push_shared(bytes.clone()));
            }
        }
    }

    /// How many have not said yet that they have so much of the stream, of those who would.
    pub fn behind(&self, engine: &mut Engine, offset: u64) -> usize {
        let mut lags = |feed: &&Feed| {
            let client = feed.client(engine).filter(|client| !client.state.closing());
            let replica = client.and_then(|client| client.state.replica.as_deref());
            replica.is_some_and(|replica| {
                !replica.silent && !replica.only_snapshot && replica.acknowledged < offset
            })
        };
        self.feeds.iter().filter(|feed| lags(feed)).count()
    }

    /// Bytes that the server holds for them. What several wait for is counted once.
    fn bytes(&self, engine: &mut Engine) -> usize {
        let waiting: usize = self.unreleased.iter().map(|(_, piece)| piece.bytes.capacity()).sum();
        let (mut own, mut shared) = (0, 0);
        for feed in &self.feeds {
            let of_client = feed
                .client(engine)
                .map_or((0, 0), |client| (client.reply.out.memory(), client.reply.out.shared_memory()));
            let of_feed = feed.backlog.shared_memory() + of_client.1;
            own += feed.backlog.memory() + of_client.0 - of_feed;
            shared = shared.max(of_feed);
        }
        waiting + own + shared
    }
}

impl Feed {
    /// The client, unless it is gone; its place may be another's by now.
    fn client<'a>(&self, engine: &'a mut Engine) -> Option<&'a mut Client> {
        engine.client(self.slot).filter(|client| client.state.id == self.id)
    }
}

impl Executor {
    /// SYNC or PSYNC: a client is to be fed.
    pub(super) fn begin_feed(&mut self, slot: Slot) {
        let Some(client) = self.client_id(slot) else { return };
        let here = self
            .connections
            .get(slot)
            .and_then(Option::as_deref)
            .is_some_and(|connection| matches!(connection.session, Session::Local));
        if !here {
            // By way of another node it would hear of effects only as fast as that one passes them on.
            tracing::warn!("a replica has to connect to the node that leads");
            return self.engine.shared.kill(slot);
        }
        if self.feeds.is_idle() {
            self.engine.feed(true);
            self.feeds.offset = self.engine.shared.effects.fed_offset();
            self.feeds.pinged_at_ms = self.engine.shared.now_ms;
        }
        tracing::info!(client, "a replica asks for the data");
        self.feeds.feeds.push(Feed {
            id: client,
            slot,
            step: Step::Waiting,
            from: 0,
            backlog: OutBuf::new(),
            begun: false,
            sent: 0,
            sent_at_ms: self.engine.shared.now_ms,
            online_at_ms: 0,
        });
    }

    /// Moves everybody on who is fed; their output is sent after it.
    pub(super) fn feed_replicas(&mut self) {
        if self.feeds.is_idle() {
            return;
        }
        let mut feeds = std::mem::take(&mut self.feeds);
        feeds.feeds.retain(|feed| {
            let there = feed
                .client(&mut self.engine)
                .is_some_and(|client| client.state.is_fed() && !client.state.close_now);
            if !there {
                tracing::info!(client = feed.id, "a replica is gone");
            }
            there
        });
        let released = if self.journal.is_some() { self.released } else { u64::MAX };
        feeds.release(released);
        feeds.held_back = false;
        let under_way = |feed: &Feed| matches!(feed.step, Step::Taken(_) | Step::Sending(_));
        let mut dumps = feeds.feeds.iter().filter(|feed| under_way(feed)).count();
        for feed in &mut feeds.feeds {
            if matches!(feed.step, Step::Waiting) && dumps < DUMPS_MAX && self.may_take_snapshot() {
                self.take_snapshot(feed);
                dumps += 1;
            }
            if matches!(&feed.step, Step::Taken(snapshot) if snapshot.seq <= released) {
                self.start_dump(feed);
            }
            if matches!(feed.step, Step::Sending(_)) {
                feeds.held_back |= self.send_snapshot(feed);
            }
            if matches!(feed.step, Step::Sent) && self.has_found_mark(feed) {
                feed.step = Step::Online;
                self.note_stage(feed, FeedStage::Online);
            }
            self.send_stream(feed);
        }
        self.engine.shared.fed_bytes = feeds.bytes(&mut self.engine);
        self.feeds = feeds;
    }

    /// After the output was sent: there may be room for more.
    pub(super) fn feed_on(&mut self) {
        let Self { feeds, engine, ready, .. } = self;
        let has_room = |feed: &Feed| {
            matches!(feed.step, Step::Sending(_))
                && feed.client(engine).is_some_and(|client| client.reply.out.len() < OUTPUT_BYTES)
        };
        if feeds.held_back && feeds.feeds.iter().any(has_room) {
            ready.wake();
        }
    }

    /// What is due every second: signs of life, and an end to those who give none.
    pub(super) fn look_after_replicas(&mut self) {
        let now_ms = self.engine.shared.now_ms;
        let timeout_ms = i64::from(self.engine.shared.config.repl_timeout) * 1000;
        for feed in &mut self.feeds.feeds {
            let Some(client) = feed.client(&mut self.engine) else { continue };
            let out = &mut client.reply.out;
            if out.is_empty() || out.start() != feed.sent {
                (feed.sent, feed.sent_at_ms) = (out.start(), now_ms);
            }
            if !feed.begun && out.is_empty() {
                // As from Redis: an empty line says that the snapshot is still being made.
                out.append(b"\n");
                self.engine.shared.touch(feed.slot);
                continue;
            }
            // Whatever it sends is a sign of life: while it loads, nothing but empty lines.
            let read_at_ms =
                self.connections[feed.slot].as_ref().map_or(0, |connection| connection.last_read_ms);
            let silent = client.state.replica.as_ref().is_some_and(|replica| replica.silent);
            let speaks = matches!(feed.step, Step::Sent | Step::Online) && !silent;
            let heard_at_ms = if speaks { read_at_ms.max(feed.online_at_ms) } else { now_ms };
            if now_ms - heard_at_ms.min(feed.sent_at_ms) > timeout_ms {
                let line = format!("Disconnecting timedout replica, client id={}", feed.id);
                self.host.log(LogLevel::Warning, &line);
                self.engine.shared.kill(feed.slot);
            }
        }
    }

    /// Nobody is fed any more: this node does not lead.
    pub(super) fn end_feeds(&mut self) {
        for feed in self.feeds.feeds.drain(..) {
            if feed.client(&mut self.engine).is_some() {
                self.engine.shared.kill(feed.slot);
            }
        }
        self.feeds.unreleased.clear();
        self.engine.shared.fed_bytes = 0;
        self.engine.shared.effects.set_fed(false);
    }

    /// Only the state after a whole batch has a place in the stream.
    fn may_take_snapshot(&self) -> bool {
        let settled = self.engine.shared.effects.is_settled();
        if !settled {
            self.ready.wake();
        }
        settled
    }

    fn take_snapshot(&mut self, feed: &mut Feed) {
        let effects = &mut self.engine.shared.effects;
        effects.select_anew();
        feed.from = effects.fed_offset();
        let mut snapshot = self.engine.snapshot();
        let id = &self.engine.shared.replication_id;
        let welcome = format!("+FULLRESYNC {id} {}\r\n", feed.from);
        let Some(client) = feed.client(&mut self.engine) else { return };
        let replica = client.state.replica.as_deref().expect("it has asked to be fed");
        if replica.without_data {
            snapshot.dbs.clear();
        }
        if replica.without_functions {
            snapshot.libraries.clear();
        }
        if !replica.silent {
            client.reply.out.append(welcome.as_bytes());
        }
        feed.step = Step::Taken(Box::new(snapshot));
        self.engine.shared.touch(feed.slot);
    }

    fn start_dump(&mut self, feed: &mut Feed) {
        let Step::Taken(snapshot) = std::mem::replace(&mut feed.step, Step::Sent) else { return };
        let compress = self.engine.shared.config.rdbcompression;
        let Some(client) = feed.client(&mut self.engine) else { return };
        let replica = client.state.replica.as_deref().expect("it has asked to be fed");
        let form = Form { mark: replica.takes_mark.then(mark), version: replica.rdb_version, compress };
        match dump::start(*snapshot, form, &self.services.dir, self.ready.clone()) {
            Ok(parts) => {
                feed.step = Step::Sending(parts);
                self.note_stage(feed, FeedStage::Sending);
            }
            Err(error) => self.give_up(feed, &error),
        }
    }

    /// Moves what the thread has made to the output, as far as there is room. True if there may be more.
    fn send_snapshot(&mut self, feed: &mut Feed) -> bool {
        let now_ms = self.engine.shared.now_ms;
        let Step::Sending(parts) = &feed.step else { return false };
        let Some(client) = feed.client(&mut self.engine) else { return false };
        let failed = loop {
            if client.reply.out.len() >= OUTPUT_BYTES {
                self.engine.shared.touch(feed.slot);
                return true;
            }
            match parts.try_recv() {
                Ok(Part::Bytes(bytes)) => {
                    client.reply.out.push_shared(bytes);
                    feed.begun = true;
                }
                Ok(Part::End) => break None,
                Err(TryRecvError::Empty) => {
                    self.engine.shared.touch(feed.slot);
                    return false;
                }
                Ok(Part::Failed(error)) => break Some(error),
                Err(TryRecvError::Disconnected) => break Some("the thread is gone".to_owned()),
            }
        };
        if let Some(error) = failed {
            self.give_up(feed, &error);
            return false;
        }
        let replica = client.state.replica.as_deref().expect("it has asked to be fed");
        let marked = replica.takes_mark;
        if replica.only_snapshot {
            client.state.close_after_reply = true;
        }
        feed.online_at_ms = now_ms;
        feed.step = if marked { Step::Sent } else { Step::Online };
        if !marked {
            self.note_stage(feed, FeedStage::Online);
        }
        tracing::info!(client = feed.id, "a replica has been sent its snapshot");
        self.engine.shared.touch(feed.slot);
        false
    }

    /// Has the replica said that it has everything up to the mark? Whatever came before that would hide the mark from it.
    fn has_found_mark(&mut self, feed: &Feed) -> bool {
        let replica = feed.client(&mut self.engine).and_then(|client| client.state.replica.as_deref());
        replica.is_some_and(|replica| replica.acknowledged_at_ms > 0)
    }

    /// Moves the released stream on, to the output of one that is online, and looks after its limit.
    fn send_stream(&mut self, feed: &mut Feed) {
        if feed.backlog.is_empty() {
            return;
        }
        let Some(client) = feed.client(&mut self.engine) else { return };
        let replica = client.state.replica.as_deref_mut().expect("it has asked to be fed");
        if replica.only_snapshot {
            feed.backlog = OutBuf::new();
            return;
        }
        if matches!(feed.step, Step::Online) {
            feed.backlog.move_to(&mut client.reply.out);
        }
        replica.waiting_bytes = feed.backlog.len();
        self.engine.check_output(&self.host, feed.slot);
        self.engine.shared.touch(feed.slot);
    }

    fn note_stage(&mut self, feed: &Feed, stage: FeedStage) {
        let now_ms = self.engine.shared.now_ms;
        if let Some(client) = feed.client(&mut self.engine)
            && let Some(replica) = &mut client.state.replica
        {
            replica.stage = Some(stage);
            if stage == FeedStage::Online {
                // It has not had the time to say anything yet.
                replica.acknowledged_at_ms = now_ms;
            }
        }
    }

    fn give_up(&mut self, feed: &mut Feed, error: &str) {
        tracing::error!(client = feed.id, error, "a replica cannot be given its snapshot");
        self.engine.shared.kill(feed.slot);
    }
}

/// Forty letters that are in no snapshot.
fn mark() -> String {
    let mut bytes = [0; MARK_BYTES];
    SysRng.try_fill_bytes(&mut bytes).expect("the system has random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
