//! Clients while a script runs on and on: their sockets are read from within the script.
//!
//! The I/O driver stands still meanwhile, so sockets are asked directly. It finds out by itself afterwards: what it then
//! reports as ready may have been emptied here, which costs one read; what is left over is listed for the next turn.

use std::io::{ErrorKind, IoSlice};
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use cairn_engine::busy::Busy;
use cairn_engine::cluster::ClusterView;
use cairn_engine::error::CommandError;
use cairn_engine::host::{Facts, Host, LogLevel, Request};
use cairn_engine::{Args, Slot};
use cairn_proto::{Decoded, Limits};

use super::connection::{Connection, READ_BYTES};
use super::door::Door;
use super::lead::Cluster;
use super::requests::stop_at_once;
use super::route::asks_for_session;
use super::session::Session;
use super::stream::Listener;
use super::turn::within_query_limit;
use super::wake::Token;
use super::{StopFlag, now_ms};
use crate::host::ServerHost;

/// Microseconds of the script between two looks at all sockets.
const PERIOD_US: u64 = 10_000;
/// Connections accepted at one look.
const ACCEPTS_MAX: usize = 16;
/// Slices handed to one write.
const SLICES_PER_WRITE: usize = 16;

/// The host of a command that may turn out to run for long.
pub(super) struct AttendingHost<'a> {
    pub host: &'a mut ServerHost,
    pub door: Door<'a>,
    pub listeners: &'a [(Listener, Arc<Token>, Waker)],
    pub stop: &'a StopFlag,
    pub cluster: Option<&'a Cluster>,
}

impl Host for AttendingHost<'_> {
    fn monotonic_us(&self) -> u64 {
        self.host.monotonic_us()
    }
    fn used_memory(&self) -> usize {
        self.host.used_memory()
    }
    fn allocator_report(&self) -> Option<String> {
        self.host.allocator_report()
    }
    fn log(&self, level: LogLevel, text: &str) {
        self.host.log(level, text);
    }
    fn background_save(&mut self, schedule: bool) -> Result<bool, CommandError> {
        self.host.background_save(schedule)
    }
    fn request(&mut self, request: Request) {
        self.host.request(request);
    }
    fn fill_with_secrets(&mut self, secret: &mut [u8]) {
        self.host.fill_with_secrets(secret);
    }
    fn read_acl_file(&mut self) -> Result<Vec<u8>, String> {
        self.host.read_acl_file()
    }
    fn replace_acl_file(&mut self, content: &[u8]) -> Result<(), String> {
        self.host.replace_acl_file(content)
    }
    fn facts(&self) -> Facts {
        self.host.facts()
    }
    fn cluster(&self) -> Option<Arc<ClusterView>> {
        self.host.cluster()
    }

    fn serve_while_busy(&mut self, busy: &mut Busy<'_>) {
        if self.monotonic_us() < self.host.attend_at_us {
            return;
        }
        self.notice_signal(busy);
        for (listener, token, _) in self.listeners {
            for _ in 0..ACCEPTS_MAX {
                // An error is met again, and reported, in the next turn.
                let Ok(accepted) = listener.accept_now() else { break };
                if let Some(slot) = self.door.admit(busy.shared, accepted)
                    && let Some(connection) = &self.door.connections[slot]
                {
                    // The I/O driver does not know it before it has been read from in a turn.
                    connection.token.list();
                }
            }
            token.list();
        }
        let mut spare = Vec::new();
        for slot in 0..self.door.connections.len() {
            if busy.serves(slot) && !self.attend(busy, slot, &mut spare) {
                self.door.connections[slot] = None;
                *self.door.connected -= 1;
                busy.disconnect(slot);
            }
        }
        self.host.attend_at_us = self.monotonic_us() + PERIOD_US;
    }
}

impl AttendingHost<'_> {
    /// Somebody wants the process to stop: a script that has not written is no reason to wait.
    fn notice_signal(&mut self, busy: &mut Busy<'_>) {
        let signal = self.stop.swap(0, Ordering::Relaxed);
        if signal == 0 {
            return;
        }
        if std::mem::replace(&mut self.host.stop_signal, signal) != 0 {
            stop_at_once();
        }
        if busy.kill_script() {
            tracing::warn!("asked to stop: the running script is ended, as by SCRIPT KILL");
        } else {
            tracing::warn!(
                "asked to stop: not before the running script is over, because it has written; asked once more, at \
                 once, without what it has written"
            );
        }
    }

    /// Reads once from a connection and carries out what is complete. False when the connection has ended.
    fn attend(&mut self, busy: &mut Busy<'_>, slot: Slot, spare: &mut Vec<u8>) -> bool {
        let Some(connection) = self.door.connections[slot].as_deref_mut() else { return true };
        // What goes to the leader goes on after the script.
        if connection.read_closed || matches!(connection.session, Session::Away(_)) {
            return true;
        }
        let room = connection.inbox.room(spare, connection.wanted);
        let asked = room.len().min(READ_BYTES);
        match connection.stream.read_now(&mut room[..asked]) {
            Ok(0) => return false,
            Ok(count) => {
                connection.inbox.received(count);
                connection.last_read_ms = now_ms();
                // There may be more, or more may be asked of what has come than is done here.
                connection.token.list();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                connection.inbox.settle(spare);
                return true;
            }
            Err(_) => return false,
        }
        while busy.serves(slot) && execute_one(busy, self.host, connection, slot) {
            if self.host.requests.iter().any(|request| matches!(request, Request::Shutdown { .. })) {
                // Nothing that was acknowledged is lost: that is on disk, and the script's writes never were.
                tracing::warn!("stopping in the middle of a script, as SHUTDOWN NOSAVE asks");
                process::exit(0);
            }
            // Answers from before the script may be among it: a leader without a lease keeps them.
            if self.cluster.is_none_or(Cluster::may_send) && !send(busy, connection, slot) {
                return false;
            }
        }
        if busy.serves(slot) && !within_query_limit(connection, slot, busy.shared) {
            return false;
        }
        connection.inbox.settle(spare);
        true
    }
}

/// Carries out the next request that has been received whole. False when there is none.
fn execute_one(busy: &mut Busy<'_>, host: &mut ServerHost, connection: &mut Connection, slot: Slot) -> bool {
    let Connection { inbox, decoder, read_closed, wanted, session, .. } = connection;
    let authenticated = busy.client(slot).is_some_and(|client| client.state.authenticated);
    let bulk_len_max = busy.shared.config.proto_max_bulk_len;
    let limits = Limits { bulk_len_max, authenticated, ..Limits::default() };
    match decoder.decode(inbox.filled(), &limits) {
        Ok(Decoded::Request { consumed }) => {
            let args = decoder.args(inbox.filled(), Vec::new());
            if asks_for_session(Args::new(&args)) {
                // The other node may wait.
                return false;
            }
            if !args.is_empty() {
                session.count_request();
                busy.execute(host, slot, Args::new(&args));
            }
            drop(args);
            inbox.consume(consumed);
            true
        }
        Ok(Decoded::Incomplete { more }) => {
            *wanted = more;
            false
        }
        Err(error) => {
            *read_closed = true;
            if let Some(client) = busy.client(slot) {
                error.write_reply(&mut client.reply);
                client.state.close_after_reply = true;
            }
            busy.shared.touch(slot);
            false
        }
    }
}

/// Sends what the socket takes; the rest is sent when the script is over. False when the connection has ended.
fn send(busy: &mut Busy<'_>, connection: &mut Connection, slot: Slot) -> bool {
    let released = busy.shared.released;
    let Some(client) = busy.client(slot) else { return true };
    if client.state.close_now {
        return true;
    }
    loop {
        let upto = client.state.sendable(released, client.reply.out.end());
        connection.session.prepare(client, upto);
        let out = &mut client.reply.out;
        let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
        let used = connection.session.io_slices(out, upto, &mut slices);
        if used == 0 {
            return true;
        }
        match connection.stream.write_now(&slices[..used]) {
            Ok(count) => connection.session.sent(out, count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
    }
}
