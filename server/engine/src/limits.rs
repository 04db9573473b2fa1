//! How much one client may make the server hold for it: unread replies and unfinished commands. What
//! all clients together may take is in [`crate::client_memory`].
//!
//! Whoever is over a limit is only marked ([`ClientState::close_now`]); the host closes the connection after the
//! turn.

use cairn_proto::ReplyWriter;

use crate::client::{Client, ClientClass, ClientState, Slot};
use crate::commands::connection::describe;
use crate::config::{Config, OutputBufferLimit};
use crate::context::Context;
use crate::host::{Host, LogLevel};
use crate::shared::Shared;

/// Output up to this many bytes never counts as unread: Redis's clients have a fixed buffer of that size, which its
/// limits leave out.
const OUTPUT_FREE_BYTES: usize = 16 * 1024;
/// Unfinished commands of the primary that is followed: as much as an entry of the journal may have.
const PRIMARY_QUERY_BYTES_MAX: usize = 4 << 30;
/// Unfinished commands of a client that has not said AUTH.
const UNAUTHENTICATED_QUERY_BYTES_MAX: usize = 1024 * 1024;

enum Verdict {
    Fine,
    OverSoft,
    Over,
}

/// [`Client::unread_bytes`], of a client in parts.
pub(crate) fn unread_bytes(reply: &ReplyWriter) -> usize {
    if reply.out.len() <= OUTPUT_FREE_BYTES { 0 } else { reply.out.occupied() }
}

impl Client {
    /// Cuts the client off: nothing more is sent to it.
    pub(crate) fn close_now(&mut self) {
        self.state.close_now = true;
        self.state.holds.clear();
        self.reply.out.clear();
    }

    /// Bytes of unread replies, as the limits count them.
    pub fn unread_bytes(&self) -> usize {
        unread_bytes(&self.reply) + self.state.replica.as_ref().map_or(0, |replica| replica.waiting_bytes)
    }

    fn judge_output(&self, config: &Config, now_ms: i64) -> Verdict {
        let limits = &config.client_output_buffer_limit;
        let OutputBufferLimit { hard, soft, soft_seconds } = match self.state.class() {
            ClientClass::Normal => limits.normal,
            ClientClass::PubSub => limits.pubsub,
            ClientClass::Replica => limits.replica,
            // It is sent nothing but acknowledgements.
            ClientClass::Primary => limits.normal,
        };
        let unread = self.unread_bytes() as u64;
        if unread == 0 || self.state.close_now {
            return Verdict::Fine;
        }
        if hard > 0 && unread >= hard {
            return Verdict::Over;
        }
        if soft == 0 || unread < soft {
            return Verdict::Fine;
        }
        match self.state.over_soft_limit_since_ms {
            Some(since_ms) if (now_ms - since_ms) / 1000 > soft_seconds as i64 => Verdict::Over,
            _ => Verdict::OverSoft,
        }
    }
}

impl ClientState {
    /// Bytes of unfinished commands that the host may hold for this client; past it the connection is closed.
    pub fn query_bytes_max(&self, shared: &Shared) -> usize {
        if self.primary {
            // What a primary has executed must be executed here as well.
            return PRIMARY_QUERY_BYTES_MAX;
        }
        let config = &shared.config;
        let limit = if self.must_authenticate(&shared.acl) {
            config.client_query_buffer_limit.min(UNAUTHENTICATED_QUERY_BYTES_MAX)
        } else {
            config.client_query_buffer_limit
        };
        // What MULTI has queued counts as unfinished, or it would be without limit.
        limit.saturating_sub(self.transaction.as_ref().map_or(0, |transaction| transaction.memory))
    }
}

impl Shared {
    /// Marks the client, which need not be in the table, if its output is over the limit of its class.
    pub(crate) fn check_output(&mut self, client: &mut Client, host: &dyn Host) {
        let slot = client.state.slot;
        match client.judge_output(&self.config, self.now_ms) {
            Verdict::Fine => {
                if client.state.over_soft_limit_since_ms.take().is_some() {
                    self.over_soft_limit.remove(&slot);
                }
            }
            Verdict::OverSoft => {
                if client.state.over_soft_limit_since_ms.is_none() {
                    client.state.over_soft_limit_since_ms = Some(self.now_ms);
                    self.over_soft_limit.insert(slot);
                }
            }
            Verdict::Over => {
                let line = describe(client, self.now_ms, 0);
                host.log(
                    LogLevel::Warning,
                    &format!(
                        "Client {line} scheduled to be closed ASAP for overcoming of output buffer limits."
                    ),
                );
                self.stats.output_limit_disconnections += 1;
                self.over_soft_limit.remove(&slot);
                client.close_now();
            }
        }
    }

    /// [`Shared::check_output`] of a client in the table.
    pub(crate) fn check_output_of(&mut self, slot: Slot, host: &dyn Host) {
        if let Some(mut client) = self.clients.get_mut(slot).and_then(Option::take) {
            self.check_output(&mut client, host);
            let closed = client.state.close_now;
            self.weigh(&mut client);
            self.clients[slot] = Some(client);
            if closed {
                self.touch(slot);
            }
        }
    }

    /// Looks again at the clients that have been over their soft limit.
    pub(crate) fn check_soft_limits(&mut self, host: &dyn Host) {
        for slot in self.over_soft_limit.iter().copied().collect::<Vec<_>>() {
            self.check_output_of(slot, host);
        }
    }
}

/// After a command was queued: a MULTI that never ends must not grow without limit.
pub(crate) fn check_queue(cx: &mut Context<'_>) {
    // Nothing is left of the limit only when the queue is over it.
    let left = cx.client.query_bytes_max(cx.shared);
    if left > 0 && cx.client.query_buffer <= left {
        return;
    }
    cx.host.log(
        LogLevel::Warning,
        &format!("Closing client id={} that reached max query buffer length", cx.client.id),
    );
    cx.shared.stats.query_limit_disconnections += 1;
    cx.client.close_now = true;
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::client::Slot;
    use crate::testing::TestEngine;

    fn closing(server: &mut TestEngine, slot: Slot) -> bool {
        server.engine.client(slot).unwrap().state.close_now
    }

    #[test]
    fn a_subscriber_that_does_not_read_is_closed_at_the_hard_limit() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.send(a, &[b"CONFIG", b"SET", b"client-output-buffer-limit", b"pubsub 100000 0 0"]);
        server.run(b, "SUBSCRIBE c");
        let message = vec![b'x'; 30_000];
        for published in 1.. {
            assert!(published < 10, "never closed");
            server.send(a, &[b"PUBLISH", b"c", &message]);
            if closing(&mut server, b) {
                assert!(published >= 3);
                break;
            }
        }
        assert!(server.output(b).is_empty(), "what is closed is not sent to");
        assert!(server.host.log.borrow().last().unwrap().contains("output buffer limits"));
        assert_eq!(server.engine.shared.stats.output_limit_disconnections, 1);
        let mut touched = Vec::new();
        server.engine.take_touched(&mut touched);
        assert!(touched.contains(&b), "the host is told");
    }

    #[test]
    fn the_soft_limit_counts_only_when_it_lasts() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.send(a, &[b"CONFIG", b"SET", b"client-output-buffer-limit", b"pubsub 0 100000 5"]);
        server.run(b, "SUBSCRIBE c");
        let message = vec![b'x'; 200_000];
        server.send(a, &[b"PUBLISH", b"c", &message]);
        server.advance(4_000);
        assert!(!closing(&mut server, b));
        assert!(!server.output(b).is_empty());
        server.advance(4_000);
        assert!(!closing(&mut server, b), "it has read everything in between");
        server.send(a, &[b"PUBLISH", b"c", &message]);
        server.advance(5_000);
        assert!(!closing(&mut server, b));
        server.advance(1_000);
        assert!(closing(&mut server, b));
    }

    #[test]
    fn a_normal_client_has_no_limit_by_default_and_one_when_set() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        let value = vec![b'x'; 300_000];
        server.send(a, &[b"SET", b"k", &value]);
        server.send_held(b, &[b"GET", b"k"]);
        assert!(!closing(&mut server, b));
        server.send(a, &[b"CONFIG", b"SET", b"client-output-buffer-limit", b"normal 100000 0 0"]);
        server.send_held(b, &[b"GET", b"k"]);
        assert!(closing(&mut server, b));
    }

    #[test]
    fn a_queue_that_never_ends_is_closed() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.engine.shared.config.client_query_buffer_limit = 1 << 20;
        server.run(a, "MULTI");
        let value = vec![b'x'; 300_000];
        for queued in 1.. {
            assert!(queued < 10, "never closed");
            server.send(a, &[b"SET", b"k", &value]);
            if closing(&mut server, a) {
                assert_eq!(queued, 4);
                break;
            }
        }
        assert_eq!(server.engine.shared.stats.query_limit_disconnections, 1);
    }
}
