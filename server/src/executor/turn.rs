//! The steps of a turn.

use std::io::IoSlice;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use cairn_engine::config::AppendFsync;
use cairn_engine::engine::PREFETCH_MAX;
use cairn_engine::latency::Event as SlowEvent;
use cairn_engine::shared::Shared;
use cairn_engine::{Args, Engine, Host, Slot};
use cairn_proto::{Decoded, Limits, RequestDecoder, encode_request, recycle};
use tokio::time::Instant;

use super::attend::AttendingHost;
use super::connection::{Connection, READ_BYTES, READ_BYTES_PER_TURN};
use super::door::Door;
use super::route::Routed;
use super::session::Session;
use super::stream::{Accepted, is_shortage};
use super::{Executor, Exit, FOLLOW_TOKEN, LISTENER_TOKENS, Traffic, UPSTREAM_TOKENS};
use crate::journal::Event;
use crate::memory;

/// Connections accepted in one turn by one listener.
const ACCEPTS_PER_TURN: usize = 64;
/// Slices handed to one vectored write.
const SLICES_PER_WRITE: usize = 64;
/// Bytes sent to one connection in one turn, so that a large reply does not starve the others.
const WRITE_BYTES_PER_TURN: usize = 1 << 20;
/// Bytes read from all connections in one turn: what they write becomes safe, and is answered, after it.
const READ_BYTES_PER_TURN_IN_ALL: u64 = 64 << 20;
/// Requests executed for one connection in one turn.
const REQUESTS_PER_TURN: usize = 16 * 1024;
/// Batches of the leader applied in one turn, in bytes, so that clients are looked at in between.
const APPLY_BYTES_PER_TURN: usize = 4 << 20;
/// What a batch counts for beside its bytes.
const APPLY_BYTES_EACH: usize = 256;
/// The longest argument that a primary may send: as much as an entry of the journal may have.
const PRIMARY_BULK_LEN_MAX: usize = 4 << 30;
/// Arguments for which there is always room.
const ARGS_KEPT: usize = 4096;
/// Microseconds of active expiry in one cron at `active-expire-effort` 1: a quarter of the time, as in Redis.
const EXPIRE_US_PER_CRON: u64 = 25_000;

/// The host of commands that clients run. A macro, because it borrows fields beside the engine.
macro_rules! attending {
    ($executor:ident) => {
        AttendingHost {
            host: &mut $executor.host,
            door: Door {
                connections: &mut $executor.connections,
                connected: &mut $executor.connected,
                rejected: &mut $executor.figures.rejected,
                ready: &$executor.ready,
            },
            listeners: &$executor.listeners,
            stop: &$executor.stop,
            cluster: $executor.cluster.as_ref(),
        }
    };
}

/// Microseconds of a turn for building indexes over older keys: when clients have said something, and when not. It is how much
/// later than otherwise a command runs that comes just then.
const INDEX_US_BUSY: u64 = 500;
const INDEX_US_IDLE: u64 = 2_000;
/// A client that has said nothing for so long gives back the memory of its output.
const IDLE_MS: i64 = 2_000;

/// Where one decoded request ends, among the slices and in the received bytes.
#[derive(Clone, Copy, Default)]
struct Request {
    slices_end: usize,
    bytes_end: usize,
}

/// What has become of received bytes.
enum Received {
    /// Something was executed; there may be more.
    Executed,
    /// At least so many bytes are missing from the next request.
    Incomplete { more: usize },
    /// The connection is gone, or broke the protocol.
    Refused,
}

impl Executor {
    /// One turn. `Some` when the server is to end.
    pub(super) fn turn(&mut self) -> Option<Exit> {
        self.begin_turn();
        let commands = self.engine.shared.stats.commands;
        let exit = self.do_turn();
        let took_us = self.host.monotonic_us().saturating_sub(self.engine.shared.turn_us);
        self.figures.note_turn(took_us, self.engine.shared.stats.commands.saturating_sub(commands));
        self.figures.show_turns(&mut self.shared.borrow_mut().facts);
        exit
    }

    fn do_turn(&mut self) -> Option<Exit> {
        self.observe_journal();
        self.observe_leading();
        self.attend_waiting();
        // One that came while a script ran has waited for its end.
        let early = std::mem::take(&mut self.host.stop_signal);
        let signal = self.stop.swap(0, Ordering::Relaxed).max(early);
        if signal != 0 {
            self.begin_shutdown_by_signal(signal);
        }
        self.poll_snapshot();
        let accepting = self.takes_commands();

        let input_before = self.figures.input_bytes;
        let mut tokens = std::mem::take(&mut self.tokens);
        self.ready.take(&mut tokens);
        let fresh = tokens.len();
        tokens.extend(self.deferred.drain(..));
        for (i, &token) in tokens.iter().enumerate() {
            if token >= LISTENER_TOKENS {
                // A listener that has been replaced may have left its token behind.
                let Some((_, listed, _)) = self.listeners.get(token - LISTENER_TOKENS) else { continue };
                listed.taken();
                if accepting {
                    self.accept(token - LISTENER_TOKENS);
                } else {
                    self.accept_later = true;
                }
                continue;
            }
            if token == FOLLOW_TOKEN {
                self.follower.wake();
                continue;
            }
            if token >= UPSTREAM_TOKENS {
                self.attend_upstream(token - UPSTREAM_TOKENS);
                continue;
            }
            if i < fresh
                && let Some(connection) = self.connection(token)
            {
                connection.token.taken();
                connection.write_blocked = false;
            }
            let read_in_turn = self.figures.input_bytes - input_before;
            if accepting && read_in_turn < READ_BYTES_PER_TURN_IN_ALL {
                self.serve(token);
            } else {
                self.deferred.push_back(token);
            }
            self.list_for_flush(token);
        }
        tokens.clear();
        self.tokens = tokens;

        let cron_due = Instant::now() >= self.cron_at;
        if cron_due {
            let begun_us = self.host.monotonic_us();
            self.cron();
            self.figures.cron_us += self.host.monotonic_us().saturating_sub(begun_us);
        }
        self.engine.tick(&mut attending!(self));
        self.serve_resumed();
        self.append();
        self.mark_executed();
        self.observe_cluster();
        if !self.host.requests.is_empty() || self.host.background_save {
            self.handle_requests();
        }
        if cron_due {
            self.save_if_due();
        }
        self.observe_journal();
        self.move_link();
        self.acknowledge(false);
        self.flush_upstreams();
        self.feed_replicas();
        self.flush_all();
        self.feed_on();
        self.poll_hand_over();
        self.build_indexes(self.figures.input_bytes != input_before);
        if let Some(trash) = self.engine.take_trash() {
            // Without the other thread the values are dropped here, which is only slower.
            let _ = self.services.trash.send(trash);
        }
        self.poll_shutdown()
    }

    /// Goes on with what indexes lack of older keys. The replies of this turn are on their way.
    fn build_indexes(&mut self, is_busy: bool) {
        let budget_us = if is_busy { INDEX_US_BUSY } else { INDEX_US_IDLE };
        self.indexing = !self.engine.shared.cron_paused && self.engine.build_indexes(&self.host, budget_us);
    }

    pub(super) fn connection(&mut self, slot: Slot) -> Option<&mut Box<Connection>> {
        self.connections.get_mut(slot)?.as_mut()
    }

    /// Gives the turn's effects to the journal.
    pub(super) fn append(&mut self) {
        let fed = self.engine.shared.effects.is_fed();
        if fed {
            self.feeds.ping(&mut self.engine);
        }
        self.engine.take_batches(&mut self.batches);
        if fed {
            self.feeds.collect(&mut self.engine);
        }
        if let Some(journal) = &mut self.journal
            && !self.batches.is_empty()
        {
            let begun_us = self.host.monotonic_us();
            for batch in self.batches.drain(..) {
                journal.append(batch);
            }
            self.figures.journal_us += self.host.monotonic_us().saturating_sub(begun_us);
        }
        assert!(self.batches.is_empty(), "effects without a journal");
    }

    /// Takes note of what the journal has released, and of its troubles.
    fn observe_journal(&mut self) {
        let mut applied_bytes = 0;
        while let Some(event) = self.journal.as_mut().and_then(|journal| journal.poll()) {
            match event {
                Event::Apply(batch) => {
                    self.apply(&batch);
                    applied_bytes += batch.len() + APPLY_BYTES_EACH;
                    if applied_bytes > APPLY_BYTES_PER_TURN {
                        // The rest waits for the next turn, which is now.
                        self.ready.wake();
                        break;
                    }
                }
                Event::Lead { term } => self.lead(term),
                Event::Lost { term, cause, unreleased } => self.lose(term, &cause, unreleased),
                Event::Install { received, done } => self.install(*received, done),
                Event::SnapshotWanted => self.snapshot_wanted(),
                Event::Full => {
                    tracing::error!("no space left for the log: writes are refused until there is");
                    self.engine.shared.write_refusal =
                        Some("MISCONF Errors writing to the AOF file: No space left on device".into());
                }
                Event::Room => {
                    tracing::info!("there is space for the log again: writes are accepted");
                    self.engine.shared.write_refusal = None;
                }
                Event::Failed(cause) => {
                    // Never retry, never go on: what the disk holds is unknown (fsyncgate).
                    tracing::error!("the log has failed, stopping at once: {cause}");
                    crate::process::abort();
                }
            }
        }
        let Some(journal) = &mut self.journal else { return };
        let released = journal.released();
        if self.cluster.is_none() {
            // WAITAOF goes by it.
            self.shared.borrow_mut().facts.log_synced = journal.synced();
        }
        self.answer_synced();
        if released > self.released {
            self.released = released;
            self.engine.set_released(released);
            self.flush_held();
        }
    }

    /// Applies a batch of the leader.
    fn apply(&mut self, batch: &[u8]) {
        if let Err(error) = self.engine.apply(&mut self.host, batch) {
            // The same batch was executed elsewhere: this state is not that one. Stopped is better than wrong.
            tracing::error!("a committed batch cannot be applied, stopping at once: {error}");
            crate::process::abort();
        }
        if let Some(trash) = self.engine.take_trash() {
            let _ = self.services.trash.send(trash);
        }
    }

    /// Lists the connections whose output may have been waiting for the journal.
    pub(super) fn flush_held(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        for slot in held.drain(..) {
            if let Some(connection) = self.connection(slot) {
                connection.held_listed = false;
                self.list_for_flush(slot);
            }
        }
        self.held = held;
    }

    fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let (listener, _, waker) = &self.listeners[index];
            let accepted = match listener.poll_accept(&mut Context::from_waker(waker)) {
                Poll::Pending => return,
                Poll::Ready(Ok(accepted)) => accepted,
                Poll::Ready(Err(error)) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    if is_shortage(&error) {
                        self.accept_later = true;
                        return;
                    }
                    // That one connection has failed; there may be others behind it.
                    continue;
                }
            };
            self.admit(accepted);
        }
        self.listeners[index].1.list();
    }

    /// Makes a client of an accepted connection, or turns it away.
    fn admit(&mut self, accepted: Accepted) {
        let mut door = Door {
            connections: &mut self.connections,
            connected: &mut self.connected,
            rejected: &mut self.figures.rejected,
            ready: &self.ready,
        };
        if let Some(slot) = door.admit(&mut self.engine.shared, accepted) {
            // A first look registers the waker; often the first command is there already.
            self.serve(slot);
            self.list_for_flush(slot);
        }
    }

    /// Reads the connection until it is empty and executes what is complete.
    fn serve(&mut self, slot: Slot) {
        let mut budget = READ_BYTES_PER_TURN;
        let mut requests = REQUESTS_PER_TURN;
        // What was left when the client was blocked, or the last turn's budget was used up.
        if self.connection(slot).is_some_and(|connection| !connection.inbox.is_empty())
            && !self.execute_received(slot, &mut requests)
        {
            return;
        }
        loop {
            let Some(connection) = self.connections.get(slot).and_then(Option::as_ref) else { return };
            if self.primary_has_to_wait(slot) {
                return;
            }
            if connection.read_closed || !self.takes_requests(slot) {
                // A blocked client is still looked at, so that its going away is seen.
                self.watch_blocked(slot);
                return;
            }
            if budget == 0 || requests == 0 {
                self.deferred.push_back(slot);
                return;
            }
            let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else { return };
            let more = connection.wanted;
            let room = connection.inbox.room(&mut self.spare, more);
            let asked = room.len().min(budget.max(READ_BYTES));
            let mut context = Context::from_waker(&connection.waker);
            let count = match connection.stream.poll_read(&mut context, &mut room[..asked]) {
                Poll::Pending => {
                    connection.inbox.settle(&mut self.spare);
                    return;
                }
                Poll::Ready(Ok(0)) => {
                    self.close_when_answered(slot);
                    return;
                }
                Poll::Ready(Err(_)) => {
                    self.close(slot);
                    return;
                }
                Poll::Ready(Ok(count)) => count,
            };
            connection.inbox.received(count);
            connection.last_read_ms = self.engine.shared.now_ms;
            count_input(&mut self.figures, &mut self.engine, slot, count);
            budget = budget.saturating_sub(count);
            if !self.execute_received(slot, &mut requests) {
                return;
            }
        }
    }

    /// May the connection's next request be looked at?
    fn takes_requests(&self, slot: Slot) -> bool {
        let waits = |connection: &Connection| connection.session.waits();
        self.engine.accepts_commands(slot)
            && !self.primary_has_to_wait(slot)
            && !self.connections.get(slot).and_then(Option::as_deref).is_some_and(waits)
    }

    /// Reads from a client that may not be served now: only to notice its end, and within its buffer limit.
    fn watch_blocked(&mut self, slot: Slot) {
        let limit = self.engine.query_bytes_max(slot);
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else { return };
        if connection.input_ended && !connection.session.waits() {
            self.close_when_answered(slot);
            return;
        }
        if connection.read_closed || connection.session.is_full() {
            return;
        }
        let mut budget = READ_BYTES_PER_TURN;
        loop {
            if connection.inbox.filled().len() > limit {
                self.close(slot);
                return;
            }
            if budget == 0 {
                self.deferred.push_back(slot);
                return;
            }
            let room = connection.inbox.room(&mut self.spare, READ_BYTES);
            let mut context = Context::from_waker(&connection.waker);
            match connection.stream.poll_read(&mut context, room) {
                Poll::Pending => {
                    connection.inbox.settle(&mut self.spare);
                    self.note_input(slot);
                    return;
                }
                Poll::Ready(Ok(0)) => {
                    self.close_when_answered(slot);
                    return;
                }
                Poll::Ready(Err(_)) => {
                    self.close(slot);
                    return;
                }
                Poll::Ready(Ok(count)) => {
                    connection.inbox.received(count);
                    count_input(&mut self.figures, &mut self.engine, slot, count);
                    budget = budget.saturating_sub(count);
                }
            }
        }
    }

    /// Executes the complete requests that the connection has received. False when the connection is not to be read
    /// any further now.
    fn execute_received(&mut self, slot: Slot, requests: &mut usize) -> bool {
        if self.connection(slot).is_some_and(|connection| connection.inbox.memory() > READ_BYTES) {
            // A command so large counts for `maxmemory-clients` before it runs.
            self.note_input(slot);
        }
        loop {
            if !self.takes_requests(slot) {
                return true;
            }
            if *requests == 0 {
                self.deferred.push_back(slot);
                return false;
            }
            match self.execute_some(slot, requests) {
                Received::Executed => {}
                Received::Incomplete { more } => {
                    let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else {
                        return false;
                    };
                    connection.wanted = more;
                    if !within_query_limit(connection, slot, &mut self.engine.shared) {
                        self.close(slot);
                        return false;
                    }
                    connection.inbox.settle(&mut self.spare);
                    self.note_input(slot);
                    return true;
                }
                Received::Refused => return false,
            }
        }
    }

    /// Tells the engine how much has been received and waits to become a command.
    fn note_input(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get(slot).and_then(Option::as_deref) else { return };
        let Some(client) = self.engine.client(slot) else { return };
        let (held, received) = (connection.inbox.memory(), connection.inbox.filled().len());
        let parsed = connection.decoder.parsed();
        let state = &mut client.state;
        if held == 0 && state.query_buffer + state.query_args + state.query_buffer_free == 0 {
            // As almost always.
            return;
        }
        state.query_args = parsed;
        state.query_buffer = received - parsed;
        state.query_buffer_free = held - received;
        self.engine.shared.weigh_at(slot);
    }

    /// Decodes the next requests of the connection, as many as make a pipeline, and executes them.
    fn execute_some(&mut self, slot: Slot, requests: &mut usize) -> Received {
        // Out of the table meanwhile: a script may run for so long that the other connections must be attended to.
        let Some(mut connection) = self.connections.get_mut(slot).and_then(Option::take) else {
            return Received::Refused;
        };
        let received = self.execute_some_of(&mut connection, slot, requests);
        self.connections[slot] = Some(connection);
        received
    }

    fn execute_some_of(&mut self, connection: &mut Connection, slot: Slot, requests: &mut usize) -> Received {
        let Connection { inbox, decoder, read_closed, session, .. } = connection;
        let authenticated = self.engine.client(slot).is_some_and(|client| client.state.authenticated);
        let is_primary = self.engine.client(slot).is_some_and(|client| client.state.primary);
        let limits = Limits {
            bulk_len_max: match is_primary {
                // What it has taken must be taken here.
                true => PRIMARY_BULK_LEN_MAX,
                false => self.engine.shared.config.proto_max_bulk_len,
            },
            authenticated,
            ..Limits::default()
        };
        // What comes after AUTH is held to other limits than what comes before.
        let at_once = if authenticated { PREFETCH_MAX.min(*requests) } else { 1 };
        let received = inbox.filled();
        let mut slices = recycle(std::mem::take(&mut self.args));
        let mut pipeline = [Request::default(); PREFETCH_MAX];
        let mut count = 0;
        let mut decoded = 0;
        let mut outcome = Received::Executed;
        let mut inline = None;
        while count < at_once {
            match decoder.decode(&received[decoded..], &limits) {
                Ok(Decoded::Request { consumed }) => {
                    if !decoder.append_args(&received[decoded..], &mut slices) {
                        // Its arguments are the decoder's: it runs alone, after those before it.
                        inline = Some(consumed);
                        break;
                    }
                    decoded += consumed;
                    pipeline[count] = Request { slices_end: slices.len(), bytes_end: decoded };
                    count += 1;
                }
                Ok(Decoded::Incomplete { more }) => {
                    outcome = Received::Incomplete { more };
                    break;
                }
                Err(_) if count == 0 && session.owes() => {
                    // The error comes again, after the answers that are outstanding.
                    session.wait_for_answers();
                    break;
                }
                Err(error) => {
                    outcome = Received::Refused;
                    if count == 0 {
                        *read_closed = true;
                        if let Some(client) = self.engine.client(slot) {
                            error.write_reply(&mut client.reply);
                            client.state.close_after_reply = true;
                        }
                    }
                    break;
                }
            }
        }
        if let Some(consumed) = inline.filter(|_| count == 0) {
            let args = decoder.args(received, slices);
            let mut taken = true;
            if !args.is_empty() {
                let mut request = Vec::new();
                if !matches!(session, Session::Local) {
                    encode_request(&args, &mut request);
                }
                match self.route(session, slot, Args::new(&args), &request) {
                    Routed::Here => self.engine.execute(&mut attending!(self), slot, Args::new(&args)),
                    Routed::Taken => {}
                    Routed::Wait => taken = false,
                }
            }
            self.args = kept(args);
            if taken {
                if is_primary {
                    self.count_executed(slot, consumed);
                }
                inbox.consume(consumed);
                *requests -= 1;
            } else {
                *decoder = RequestDecoder::new();
            }
            return Received::Executed;
        }
        if count > 1 {
            let mut keys: [&[u8]; PREFETCH_MAX] = [&[]; PREFETCH_MAX];
            let mut start = 0;
            for (key, request) in keys.iter_mut().zip(&pipeline[..count]) {
                *key = slices[start..request.slices_end].get(1).copied().unwrap_or_default();
                start = request.slices_end;
            }
            self.engine.prefetch(slot, &keys[..count]);
        }
        let mut start = 0;
        let mut executed_bytes = 0;
        let mut executed = 0;
        for request in &pipeline[..count] {
            if executed > 0 && !self.engine.accepts_commands(slot) {
                break;
            }
            let args = &slices[start..request.slices_end];
            if !args.is_empty() {
                let raw = &received[executed_bytes..request.bytes_end];
                match self.route(session, slot, Args::new(args), raw) {
                    Routed::Here => self.engine.execute(&mut attending!(self), slot, Args::new(args)),
                    Routed::Taken => {}
                    Routed::Wait => break,
                }
            }
            if is_primary {
                self.count_executed(slot, request.bytes_end - executed_bytes);
            }
            start = request.slices_end;
            executed_bytes = request.bytes_end;
            executed += 1;
        }
        *requests -= executed;
        self.args = kept(slices);
        inbox.consume(executed_bytes);
        let decoded_all = executed == count && inline.is_none();
        if !decoded_all {
            // It has looked further than was executed: it starts again there.
            *decoder = RequestDecoder::new();
        }
        match outcome {
            Received::Incomplete { .. } if decoded_all => outcome,
            Received::Refused if count == 0 => outcome,
            // An error behind executed requests comes again, first in line.
            _ => Received::Executed,
        }
    }

    /// Clients whose wait is over may have sent more already.
    fn serve_resumed(&mut self) {
        loop {
            let mut slots = std::mem::take(&mut self.slots);
            self.engine.take_resumed(&mut slots);
            let done = slots.is_empty();
            for slot in slots.drain(..) {
                self.serve(slot);
                self.list_for_flush(slot);
            }
            self.slots = slots;
            if done {
                return;
            }
        }
    }

    pub(super) fn list_for_flush(&mut self, slot: Slot) {
        if let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut)
            && !connection.flush_listed
        {
            connection.flush_listed = true;
            self.flush.push(slot);
        }
    }

    /// Sends what may be sent, and closes what is to be closed.
    fn flush_all(&mut self) {
        let mut slots = std::mem::take(&mut self.slots);
        self.engine.take_touched(&mut slots);
        for slot in slots.drain(..) {
            self.list_for_flush(slot);
        }
        self.slots = slots;
        if !self.may_send() {
            // They stay on the list; the journal wakes the executor when it may speak again.
            return;
        }
        let mut flush = std::mem::take(&mut self.flush);
        for slot in flush.drain(..) {
            self.flush_one(slot);
        }
        // Nothing flushed lists anything: the lists of this turn are done.
        debug_assert!(self.flush.is_empty());
        self.flush = flush;
    }

    fn flush_one(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else { return };
        connection.flush_listed = false;
        let Some(client) = self.engine.client(slot) else { return };
        if client.state.close_now {
            self.close(slot);
            return;
        }
        let mut budget = WRITE_BYTES_PER_TURN;
        loop {
            let upto = client.state.sendable(self.released, client.reply.out.end());
            connection.session.prepare(client, upto);
            let out = &mut client.reply.out;
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let used = connection.session.io_slices(out, upto, &mut slices);
            if used == 0 || connection.write_blocked {
                break;
            }
            if budget == 0 {
                connection.token.list();
                break;
            }
            let mut context = Context::from_waker(&connection.waker);
            match connection.stream.poll_write(&mut context, &slices[..used]) {
                Poll::Pending => connection.write_blocked = true,
                Poll::Ready(Ok(count)) => {
                    connection.session.sent(out, count);
                    self.figures.output_bytes += count as u64;
                    client.state.net_output_bytes += count as u64;
                    budget = budget.saturating_sub(count);
                }
                Poll::Ready(Err(_)) => {
                    self.close(slot);
                    return;
                }
            }
        }
        if client.reply.out.is_empty() {
            if client.state.close_after_reply && !connection.session.has_more() {
                self.close(slot);
            }
        } else if !client.state.holds.is_empty() && !connection.held_listed {
            connection.held_listed = true;
            self.held.push(slot);
        }
        self.engine.shared.weigh_at(slot);
    }

    /// The client has sent its last and may still be listening (`printf … | nc`): what it sent before is answered, even
    /// if that has to wait for the journal. What it was waiting for, it has given up.
    fn close_when_answered(&mut self, slot: Slot) {
        if self.awaits_upstream(slot) {
            return;
        }
        self.engine.unblock(slot);
        let Some(client) = self.engine.client(slot).filter(|client| !client.reply.out.is_empty()) else {
            self.close(slot);
            return;
        };
        client.state.close_after_reply = true;
        if let Some(connection) = self.connection(slot) {
            connection.read_closed = true;
        }
        self.list_for_flush(slot);
    }

    /// Ends a connection.
    pub(super) fn close(&mut self, slot: Slot) {
        self.say_bye(slot);
        if let Some(connection) = self.connections.get_mut(slot).and_then(Option::take) {
            self.connected -= 1;
            drop(connection);
            self.engine.disconnect(slot);
            self.note_primary_gone(slot);
        }
    }

    /// Background work, `hz` times a second.
    fn cron(&mut self) {
        let hz = u64::from(self.engine.shared.config.hz.clamp(1, 500));
        self.cron_at = Instant::now() + Duration::from_millis(1000 / hz);
        if self.engine.shared.cron_paused {
            return;
        }
        self.cron_count += 1;
        memory::note_peak();
        let effort = self.engine.shared.config.active_expire_effort as u64;
        self.engine.cron(&mut self.host, EXPIRE_US_PER_CRON * (4 + effort) / 5 * 10 / hz);
        self.sample_traffic();
        let syncs = self.shared.borrow().facts.log_syncs;
        self.refresh_facts();
        self.note_slow_sync(syncs);
        if self.cron_count.is_multiple_of(hz) {
            self.every_second();
            self.look_after_replicas();
            self.look_after_primary();
        }
        if std::mem::take(&mut self.accept_later) {
            for (_, token, _) in &self.listeners {
                token.list();
            }
        }
    }

    /// Tells LATENCY of the last sync of the log, if there was one since there were `syncs`.
    fn note_slow_sync(&mut self, syncs: u64) {
        let facts = &self.shared.borrow().facts;
        if facts.log_syncs != syncs {
            let always = self.engine.shared.config.appendfsync == AppendFsync::Always;
            let event = if always { SlowEvent::LogSyncAlways } else { SlowEvent::LogSync };
            self.engine.shared.note_latency(event, facts.log_last_sync_us);
        }
    }

    /// Closes clients that were idle for too long.
    fn every_second(&mut self) {
        let timeout_s = i64::from(self.engine.shared.config.timeout);
        let now_ms = self.engine.shared.now_ms;
        for slot in 0..self.connections.len() {
            let Some(connection) = self.connections[slot].as_mut() else { continue };
            let last_ms = connection.last_read_ms;
            let may_rest = connection.session.may_rest();
            let Some(client) = self.engine.client(slot) else { continue };
            if now_ms - client.state.last_command_at_ms > IDLE_MS {
                client.reply.out.release_idle();
            }
            let idle = timeout_s > 0
                && now_ms - last_ms.max(client.state.last_command_at_ms) > timeout_s * 1000
                && client.state.blocked.is_none()
                && !client.state.subscriptions.any()
                && !client.state.monitor
                && !client.state.is_fed()
                && !client.state.primary
                && !may_rest;
            if idle {
                self.close(slot);
            } else {
                self.engine.shared.weigh_at(slot);
            }
        }
    }

    fn sample_traffic(&mut self) {
        let now_ms = self.engine.shared.now_ms;
        let commands = self.engine.shared.stats.commands;
        let traffic = &mut self.figures;
        let elapsed_ms = (now_ms - traffic.sampled_at_ms).max(1) as f64;
        // CONFIG RESETSTAT in this very turn has set the counters back.
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 * 1000.0 / elapsed_ms;
        let mut shared = self.shared.borrow_mut();
        let facts = &mut shared.facts;
        // Halfway between the last figure and the newest: steady enough to read.
        let smooth = |old: f64, new: f64| (old + new) / 2.0;
        let input = rate(traffic.input_bytes, traffic.sampled_input) / 1024.0;
        let output = rate(traffic.output_bytes, traffic.sampled_output) / 1024.0;
        facts.instantaneous_input_kbps = smooth(facts.instantaneous_input_kbps, input);
        facts.instantaneous_output_kbps = smooth(facts.instantaneous_output_kbps, output);
        let turns = traffic.turns.saturating_sub(traffic.sampled_turns);
        let turns_us = traffic.turns_us.saturating_sub(traffic.sampled_turns_us);
        let turns_per_s = rate(traffic.turns, traffic.sampled_turns);
        facts.instantaneous_turns = smooth(facts.instantaneous_turns as f64, turns_per_s) as u64;
        facts.instantaneous_turn_us =
            smooth(facts.instantaneous_turn_us as f64, turns_us as f64 / turns.max(1) as f64) as u64;
        let stats = &mut self.engine.shared.stats;
        stats.instantaneous_ops =
            smooth(stats.instantaneous_ops as f64, rate(commands, traffic.sampled_commands)) as u64;
        traffic.sampled_at_ms = now_ms;
        traffic.sampled_input = traffic.input_bytes;
        traffic.sampled_output = traffic.output_bytes;
        traffic.sampled_commands = commands;
        traffic.sampled_turns = traffic.turns;
        traffic.sampled_turns_us = traffic.turns_us;
    }
}

fn count_input(figures: &mut Traffic, engine: &mut Engine, slot: Slot, bytes: usize) {
    figures.input_bytes += bytes as u64;
    if let Some(client) = engine.client(slot) {
        client.state.net_input_bytes += bytes as u64;
    }
}

/// Is what a client has sent of an unfinished request within `client-query-buffer-limit`? If not it is to be closed.
pub(super) fn within_query_limit(connection: &Connection, slot: Slot, shared: &mut Shared) -> bool {
    let held = connection.inbox.memory() + connection.decoder.memory();
    let limit = match shared.client(slot) {
        Some(client) if client.state.primary => usize::MAX,
        _ => shared.config.client_query_buffer_limit,
    };
    let fits = held <= limit;
    if !fits {
        tracing::warn!(slot, held, "closing a client that exceeded client-query-buffer-limit");
        shared.stats.query_limit_disconnections += 1;
    }
    fits
}

/// The room for arguments, to be used again; that of a huge command is given back.
fn kept(args: Vec<&[u8]>) -> Vec<&'static [u8]> {
    if args.capacity() > ARGS_KEPT { Vec::new() } else { recycle(args) }
}
