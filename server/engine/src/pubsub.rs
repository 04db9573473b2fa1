//! The tables of channels and patterns, and the delivery of messages.

use std::collections::HashSet;

use bytes::Bytes;
use cairn_proto::{ReplyWriter, Resp, SHARED_BULK_MIN};

use crate::client::{ClientState, Slot, Subscriptions};
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

impl Scope {
    const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];

    /// The client's own set of subscriptions.
    pub fn of(self, subscriptions: &mut Subscriptions) -> &mut HashSet<Box<[u8]>> {
        match self {
            Self::Channel => &mut subscriptions.channels,
            Self::Pattern => &mut subscriptions.patterns,
            Self::Shard => &mut subscriptions.shard_channels,
        }
    }
}

impl Context<'_> {
    /// Sends a message to everybody who listens to `channel`, by name or pattern; returns how many it reached.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let mut receivers = 0;
        if !self.shared.pubsub.channels.is_empty() {
            receivers += self.publish_to(Scope::Channel, b"message", channel, message);
        }
        if self.shared.pubsub.patterns.is_empty() {
            return receivers;
        }
        // Nobody subscribes while messages are delivered: the table can be taken out.
        let patterns = std::mem::take(&mut self.shared.pubsub.patterns);
        for (pattern, slots) in &patterns {
            if glob::matches(pattern, channel, false) {
                self.deliver_to_all(slots, &mut Message::new(&[b"pmessage", pattern, channel, message]));
                receivers += slots.len();
            }
        }
        self.shared.pubsub.patterns = patterns;
        receivers
    }

    /// Sends a message to everybody who listens to this shard channel; returns how many it reached.
    pub fn publish_to_shard(&mut self, channel: &[u8], message: &[u8]) -> usize {
        self.publish_to(Scope::Shard, b"smessage", channel, message)
    }

    fn publish_to(&mut self, scope: Scope, kind: &[u8], channel: &[u8], message: &[u8]) -> usize {
        let Some(slots) = self.shared.pubsub.listeners(scope, channel).map(std::mem::take) else { return 0 };
        self.deliver_to_all(&slots, &mut Message::new(&[kind, channel, message]));
        let receivers = slots.len();
        if let Some(place) = self.shared.pubsub.listeners(scope, channel) {
            *place = slots;
        }
        receivers
    }

    fn deliver_to_all(&mut self, slots: &[Slot], message: &mut Message<'_>) {
        for &slot in slots {
            self.deliver(slot, |reply| message.write(reply));
        }
    }
}

/// A message, encoded once for each protocol version however many it goes to.
struct Message<'a> {
    parts: &'a [&'a [u8]],
    encoded: [Option<Bytes>; 2],
}

impl<'a> Message<'a> {
    fn new(parts: &'a [&'a [u8]]) -> Self {
        Self { parts, encoded: [None, None] }
    }

    fn write(&mut self, reply: &mut ReplyWriter) {
        let encoded = self.encoded[usize::from(reply.resp == Resp::V3)].get_or_insert_with(|| {
            let mut writer = ReplyWriter::new(reply.resp);
            writer.push(self.parts.len());
            for part in self.parts {
                writer.bulk(part);
            }
            Bytes::copy_from_slice(writer.out.contiguous())
        });
        if encoded.len() < SHARED_BULK_MIN {
            reply.out.append(encoded);
        } else {
            reply.out.push_shared(encoded.clone());
        }
    }
}

impl PubSub {
    /// Who listens to this channel or pattern, if anybody does.
    pub fn listeners(&mut self, scope: Scope, name: &[u8]) -> Option<&mut Vec<Slot>> {
        match scope {
            Scope::Channel => self.channels.get_mut(name),
            Scope::Pattern => self.patterns.get_mut(name),
            Scope::Shard => self.shard_channels.get_mut(name),
        }
    }

    fn listeners_or_new(&mut self, scope: Scope, name: &[u8]) -> &mut Vec<Slot> {
        match scope {
            Scope::Channel => self.channels.entry(name.into()).or_default(),
            Scope::Pattern => self.patterns.entry(name.into()).or_default(),
            Scope::Shard => self.shard_channels.entry(name.into()).or_default(),
        }
    }

    fn remove(&mut self, scope: Scope, name: &[u8]) {
        match scope {
            Scope::Channel => self.channels.remove(name),
            Scope::Pattern => self.patterns.remove(name),
            Scope::Shard => self.shard_channels.remove(name),
        };
    }
}

/// Adds a subscription; false when the client had it.
pub fn subscribe(shared: &mut Shared, client: &mut ClientState, scope: Scope, name: &[u8]) -> bool {
    if !scope.of(&mut client.subscriptions).insert(name.into()) {
        return false;
    }
    let slots = shared.pubsub.listeners_or_new(scope, name);
    if let Err(at) = slots.binary_search(&client.slot) {
        slots.insert(at, client.slot);
    }
    true
}

/// Takes a subscription away; false when the client did not have it.
pub fn unsubscribe(shared: &mut Shared, client: &mut ClientState, scope: Scope, name: &[u8]) -> bool {
    if !scope.of(&mut client.subscriptions).remove(name) {
        return false;
    }
    forget_listener(shared, scope, name, client.slot);
    true
}

fn forget_listener(shared: &mut Shared, scope: Scope, name: &[u8], slot: Slot) {
    if let Some(slots) = shared.pubsub.listeners(scope, name) {
        if let Ok(at) = slots.binary_search(&slot) {
            slots.remove(at);
        }
        if slots.is_empty() {
            shared.pubsub.remove(scope, name);
        }
    }
}

impl Shared {
    /// Takes a client that is going away out of the tables of channels, watched and tracked keys, and monitors.
    pub(crate) fn forget_client(&mut self, client: &mut ClientState) {
        self.forget_subscriptions(client);
        self.forget_watches(client);
        self.forget_monitor(client);
        self.forget_replica(client);
        self.tracking.disable(client);
        self.over_soft_limit.remove(&client.slot);
        self.client_memory.remove(client);
    }

    /// Ends all subscriptions, without a word.
    pub(crate) fn forget_subscriptions(&mut self, client: &mut ClientState) {
        for scope in Scope::ALL {
            for name in std::mem::take(scope.of(&mut client.subscriptions)) {
                forget_listener(self, scope, &name, client.slot);
            }
        }
    }

    /// Ends MONITOR.
    pub(crate) fn forget_monitor(&mut self, client: &mut ClientState) {
        if std::mem::take(&mut client.monitor) {
            let slot = client.slot;
            self.monitors.retain(|&monitor| monitor != slot);
        }
    }

    /// A replica is fed no more.
    fn forget_replica(&mut self, client: &mut ClientState) {
        if client.replica.take().is_some_and(|replica| replica.stage.is_some()) {
            let slot = client.slot;
            self.replicas.retain(|&replica| replica != slot);
        }
    }

    /// UNWATCH.
    pub(crate) fn forget_watches(&mut self, client: &mut ClientState) {
        for watched in client.watched.take() {
            if let Some(slots) = self.watchers.get_mut(watched.db, &watched.key) {
                slots.retain(|&slot| slot != client.slot);
                if slots.is_empty() {
                    self.watchers.remove(watched.db, &watched.key);
                }
            }
        }
        client.watch_broken = false;
    }
}
