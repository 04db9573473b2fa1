//! The tables of channels and patterns, and the delivery of messages.

use cairn_proto::{ReplyWriter, Resp};

use crate::client::{ClientState, Slot};
use crate::context::Context;
use crate::glob;
use crate::shared::{PubSub, Shared};

/// Which table a subscription is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Channel,
    Pattern,
    Shard,
}

impl Context<'_> {
    /// Sends a message to everybody who listens to `channel`, by name or pattern; returns how many it reached.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let pubsub = &self.shared.pubsub;
        if pubsub.channels.is_empty() && pubsub.patterns.is_empty() {
            return 0;
        }
        let direct = pubsub.channels.get(channel).cloned().unwrap_or_default();
        let by_pattern: Vec<(Slot, Box<[u8]>)> = pubsub
            .patterns
            .iter()
            .filter(|(pattern, _)| glob::matches(pattern, channel, false))
            .flat_map(|(pattern, slots)| slots.iter().map(|&slot| (slot, pattern.clone())))
            .collect();
        let receivers = direct.len() + by_pattern.len();
        for slot in direct {
            self.deliver(slot, |reply| {
                push(reply, 3);
                reply.bulk(b"message");
                reply.bulk(channel);
                reply.bulk(message);
            });
        }
        for (slot, pattern) in by_pattern {
            self.deliver(slot, |reply| {
                push(reply, 4);
                reply.bulk(b"pmessage");
                reply.bulk(&pattern);
                reply.bulk(channel);
                reply.bulk(message);
            });
        }
        receivers
    }
}

/// The head of an out-of-band message.
pub fn push(reply: &mut ReplyWriter, len: usize) {
    match reply.resp {
        Resp::V2 => reply.array(len),
        Resp::V3 => reply.push(len),
    }
}

impl PubSub {
    fn table(&mut self, scope: Scope) -> &mut std::collections::HashMap<Box<[u8]>, Vec<Slot>> {
        match scope {
            Scope::Channel => &mut self.channels,
            Scope::Pattern => &mut self.patterns,
            Scope::Shard => &mut self.shard_channels,
        }
    }
}

fn own(client: &mut ClientState, scope: Scope) -> &mut std::collections::HashSet<Box<[u8]>> {
    match scope {
        Scope::Channel => &mut client.subscriptions.channels,
        Scope::Pattern => &mut client.subscriptions.patterns,
        Scope::Shard => &mut client.subscriptions.shard_channels,
    }
}

/// Adds a subscription; false when the client had it.
pub fn subscribe(shared: &mut Shared, client: &mut ClientState, scope: Scope, name: &[u8]) -> bool {
    if !own(client, scope).insert(name.into()) {
        return false;
    }
    shared.pubsub.table(scope).entry(name.into()).or_default().push(client.slot);
    true
}

/// Takes a subscription away; false when the client did not have it.
pub fn unsubscribe(shared: &mut Shared, client: &mut ClientState, scope: Scope, name: &[u8]) -> bool {
    if !own(client, scope).remove(name) {
        return false;
    }
    let table = shared.pubsub.table(scope);
    if let Some(slots) = table.get_mut(name) {
        slots.retain(|&slot| slot != client.slot);
        if slots.is_empty() {
            table.remove(name);
        }
    }
    true
}

impl Shared {
    /// Takes a client that is going away out of the tables of channels, watched keys and monitors.
    pub(crate) fn forget_client(&mut self, client: &mut ClientState) {
        for scope in [Scope::Channel, Scope::Pattern, Scope::Shard] {
            for name in own(client, scope).iter().cloned().collect::<Vec<_>>() {
                unsubscribe(self, client, scope, &name);
            }
        }
        self.forget_watches(client);
        let slot = client.slot;
        self.monitors.retain(|&monitor| monitor != slot);
        client.monitor = false;
    }

    /// UNWATCH.
    pub(crate) fn forget_watches(&mut self, client: &mut ClientState) {
        for watched in client.watched.drain(..) {
            let name = (watched.db, watched.key);
            if let Some(slots) = self.watchers.get_mut(&name) {
                slots.retain(|&slot| slot != client.slot);
                if slots.is_empty() {
                    self.watchers.remove(&name);
                }
            }
        }
        client.watch_broken = false;
    }
}
