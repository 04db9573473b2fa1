//! What the server holds for its clients, all together, and who goes when that is more than `maxmemory-clients`.
//!
//! While there is a limit, every client is weighed whenever its memory may have changed: when the host has read from it or
//! sent to it, when its command is over, when something was written to it. So the sum is known without asking all of them,
//! and before each command, and in each turn, nothing has to be done but to compare it with the limit.
//!
//! Clients that may be evicted are sorted into classes of size, each for twice as much as the one before: who goes is one of
//! the largest class that has anybody, in the order in which they came to the table.

use std::collections::BTreeSet;

use crate::client::{Client, ClientState, Slot};
use crate::commands::connection::describe;
use crate::config::{Config, MemoryShare};
use crate::host::{Host, LogLevel};
use crate::shared::Shared;

/// Clients below this many bytes, as a power of two, are of one class, and those from `LARGEST_LOG` on.
const SMALLEST_LOG: u32 = 15;
const LARGEST_LOG: u32 = 33;
const CLASSES: usize = (LARGEST_LOG - SMALLEST_LOG + 1) as usize;

/// The clients that were weighed.
#[derive(Default)]
pub struct ClientMemory {
    /// Those that may be evicted.
    classes: [BTreeSet<Slot>; CLASSES],
    /// Bytes of all, those included that may not be evicted.
    sum: usize,
}

/// What a client counts for in [`ClientMemory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    bytes: usize,
    /// Where it is listed, if it may be evicted.
    class: Option<usize>,
}

fn class_of(bytes: usize) -> usize {
    let log = bytes.checked_ilog2().unwrap_or(0).clamp(SMALLEST_LOG, LARGEST_LOG);
    (log - SMALLEST_LOG) as usize
}

/// Is there a limit?
fn is_limited(config: &Config) -> bool {
    !matches!(config.maxmemory_clients, MemoryShare::Bytes(0) | MemoryShare::PercentOfMaxmemory(0))
}

/// The limit in bytes; 0: none.
fn limit(config: &Config) -> u64 {
    match config.maxmemory_clients {
        MemoryShare::Bytes(bytes) => bytes,
        MemoryShare::PercentOfMaxmemory(percent) => {
            (u128::from(config.maxmemory) * u128::from(percent) / 100) as u64
        }
    }
}

impl ClientMemory {
    fn put(&mut self, client: &mut ClientState, bytes: usize) {
        if client.is_fed() || client.primary {
            // It has a limit of its own, and is not what the others are to pay for.
            return self.remove(client);
        }
        let class = (!client.no_evict).then(|| class_of(bytes));
        let new = Weight { bytes, class };
        if client.weight == Some(new) {
            return;
        }
        self.remove(client);
        self.sum += bytes;
        if let Some(class) = class {
            self.classes[class].insert(client.slot);
        }
        client.weight = Some(new);
    }

    /// The client counts no more.
    pub(crate) fn remove(&mut self, client: &mut ClientState) {
        let Some(Weight { bytes, class }) = client.weight.take() else { return };
        self.sum -= bytes;
        if let Some(class) = class {
            self.classes[class].remove(&client.slot);
        }
    }
}

impl Client {
    /// Bytes that the server holds for this client.
    pub fn memory(&self) -> usize {
        self.state.memory() + self.reply.out.memory()
    }
}

impl ClientState {
    /// Bytes that the server holds for this client beside its output.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Client>()
            + self.query_buffer
            + self.query_args
            + self.query_buffer_free
            + self.transaction.as_ref().map_or(0, |transaction| transaction.memory)
            + self.subscriptions.memory()
            + self.tracking.as_ref().map_or(0, |tracking| tracking.memory())
            + self.watched.memory()
    }
}

impl Shared {
    /// Bytes that the server holds for all clients but those that it feeds, whose are `fed_bytes`.
    pub(crate) fn clients_memory(&self) -> usize {
        let clients = self.clients.iter().filter_map(|(_, client)| client.as_deref());
        clients.filter(|client| !client.state.is_fed()).map(Client::memory).sum()
    }

    /// Takes the client's weight anew; it need not be in the table.
    pub(crate) fn weigh(&mut self, client: &mut Client) {
        if is_limited(&self.config) && !client.state.closing() {
            let bytes = client.memory();
            self.client_memory.put(&mut client.state, bytes);
        } else {
            self.client_memory.remove(&mut client.state);
        }
    }

    /// [`Shared::weigh`] of a client in the table.
    pub fn weigh_at(&mut self, slot: Slot) {
        if !is_limited(&self.config) {
            return;
        }
        if let Some(mut client) = self.clients.get_mut(slot).and_then(Option::take) {
            self.weigh(&mut client);
            self.clients[slot] = Some(client);
        }
    }

    /// `maxmemory-clients` has changed: from now on all clients are weighed, or none.
    pub fn weigh_all(&mut self) {
        let limited = is_limited(&self.config);
        for (_, client) in &mut self.clients {
            let Some(client) = client else { continue };
            if limited && !client.state.closing() {
                let bytes = client.memory();
                self.client_memory.put(&mut client.state, bytes);
            } else {
                self.client_memory.remove(&mut client.state);
            }
        }
    }

    /// Closes clients with large buffers until all together are within `maxmemory-clients`.
    pub(crate) fn evict_clients(&mut self, host: &dyn Host) {
        if self.client_memory.sum == 0 {
            return;
        }
        let limit = limit(&self.config);
        if limit == 0 {
            return;
        }
        while self.client_memory.sum as u64 > limit {
            let Some(slot) = self.next_to_evict() else { return };
            let now_ms = self.now_ms;
            if let Some(client) = self.client(slot) {
                let line = describe(client, now_ms, 0);
                host.log(LogLevel::Notice, &format!("Evicting client: {line}"));
            }
            self.stats.evicted_clients += 1;
            self.kill(slot);
        }
    }

    fn next_to_evict(&self) -> Option<Slot> {
        let by_size = self.client_memory.classes.iter().rev().flatten().copied();
        // One whose script others are being attended to in the middle of is not in the table.
        by_size.into_iter().find(|&slot| self.clients.get(slot).is_some_and(Option::is_some))
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use super::class_of;
    use crate::client::Slot;
    use crate::testing::TestEngine;

    fn closing(server: &mut TestEngine, slot: Slot) -> bool {
        server.engine.client(slot).unwrap().state.close_now
    }

    /// As if the host had received so much of an unfinished command.
    fn receive(server: &mut TestEngine, slot: Slot, bytes: usize) {
        server.engine.client(slot).unwrap().state.query_buffer = bytes;
        server.engine.shared.weigh_at(slot);
    }

    #[test]
    fn classes_double() {
        assert_eq!(class_of(0), 0);
        assert_eq!(class_of((64 << 10) - 1), 0);
        assert_eq!(class_of(64 << 10), 1);
        assert_eq!(class_of((1 << 20) - 1), 4);
        assert_eq!(class_of(1 << 20), 5);
        assert_eq!(class_of(1 << 40), 18);
    }

    #[test]
    fn the_largest_clients_go_when_all_together_are_too_large() {
        let mut server = TestEngine::new();
        let (a, b, c) = (server.connect(Resp::V2), server.connect(Resp::V2), server.connect(Resp::V2));
        let value = vec![b'x'; 300_000];
        server.send(a, &[b"SET", b"k", &value]);
        server.send_held(b, &[b"GET", b"k"]);
        server.run(c, "CLIENT NO-EVICT ON");
        server.send_held(c, &[b"GET", b"k"]);
        server.run(a, "CONFIG SET maxmemory-clients 400000");
        assert_eq!(server.run(a, "PING"), "+PONG\r\n");
        assert!(!closing(&mut server, a));
        assert!(closing(&mut server, b));
        assert!(!closing(&mut server, c), "NO-EVICT protects it");
        assert_eq!(server.engine.shared.stats.evicted_clients, 1);
        assert!(server.host.log.borrow().last().unwrap().starts_with("Evicting client: id=2 "));
    }

    #[test]
    fn what_has_been_received_of_a_command_counts_before_it_runs() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(a, "CONFIG SET maxmemory-clients 3000000");
        receive(&mut server, b, 4_000_000);
        assert_eq!(server.run(b, "SET k v"), "", "it is gone before its command");
        assert_eq!(server.run(a, "EXISTS k"), ":0\r\n");
        assert!(closing(&mut server, b));
    }

    #[test]
    fn no_more_go_than_have_to() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        let others: Vec<Slot> = (0..10).map(|_| server.connect(Resp::V2)).collect();
        others.iter().for_each(|&slot| receive(&mut server, slot, 1 << 20));
        assert!(others.iter().all(|&slot| !closing(&mut server, slot)));
        server.run(a, "CONFIG SET maxmemory-clients 5400000");
        server.run(a, "PING");
        assert_eq!(others.iter().filter(|&&slot| !closing(&mut server, slot)).count(), 5);
        assert_eq!(server.run(a, "CONFIG SET maxmemory-clients 0"), "+OK\r\n");
        assert_eq!(server.engine.shared.client_memory.sum, 0, "without a limit nobody is weighed");
        server.run(a, "CONFIG SET maxmemory 2000000 maxmemory-clients 50%");
        server.run(a, "PING");
        assert!(others.iter().all(|&slot| closing(&mut server, slot)));
        assert!(!closing(&mut server, a));
    }

    #[test]
    fn a_queue_watches_and_prefixes_count() {
        for grow in ["MULTI", "WATCH", "CLIENT TRACKING", "SUBSCRIBE"] {
            let mut server = TestEngine::new();
            let (a, b) = (server.connect(Resp::V3), server.connect(Resp::V3));
            server.run(a, "CONFIG SET maxmemory-clients 200000");
            if grow == "MULTI" {
                server.run(b, "MULTI");
            }
            for n in 0.. {
                assert!(n < 10_000, "{grow}: never closed");
                let command = match grow {
                    "MULTI" => format!("SET key{n} {n:0400}"),
                    "CLIENT TRACKING" => format!("CLIENT TRACKING ON BCAST PREFIX {n:0400}"),
                    _ => format!("{grow} {n:0400}"),
                };
                server.run(b, &command);
                server.run(a, "PING");
                if closing(&mut server, b) {
                    break;
                }
            }
            assert!(!closing(&mut server, a));
        }
    }

    #[test]
    fn who_has_gone_counts_no_more() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(a, "CONFIG SET maxmemory-clients 3000000");
        server.run(a, "PING");
        let before = server.engine.shared.client_memory.sum;
        receive(&mut server, b, 1 << 20);
        assert!(server.engine.shared.client_memory.sum > before);
        server.engine.disconnect(b);
        assert!(server.engine.shared.client_memory.sum <= before);
        assert!(server.engine.shared.client_memory.classes.iter().flatten().all(|&slot| slot == a));
    }
}
