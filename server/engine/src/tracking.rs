//! Client-side caching: who may keep a copy of which key, and is to hear that it has changed.
//!
//! A client in the default mode hears of the keys that it has read since they last changed: [`Table`] remembers the reader
//! of every key, and forgets it with the message. A client in broadcast mode hears of all keys that begin with its
//! prefixes; nothing is remembered for it.
//!
//! A change is only noted where it happens ([`Table::key_changed`]). The messages are written when the unit is over
//! ([`Context::send_invalidations`]), behind the reply of the client that made the change, and wait like all messages
//! until the change is released: nobody is told to forget a value for one that a crash takes back. What eviction and the limit of
//! the table did before a command comes before its reply.
//!
//! In a cluster all of this is the leader's: a session that tracks lives there (see [`crate::routing`]), reads there even
//! after READONLY, and ends with the leadership, upon which clients drop what they have cached.

use std::collections::{BTreeMap, BTreeSet};

use cairn_proto::{ReplyWriter, Resp};

use crate::client::{ClientState, Slot};
use crate::context::Context;
use crate::ds::{Dict, Entry, HashSeed, Key};
use crate::rng::Rng;

/// Where clients of RESP2 listen for what is redirected to them.
const CHANNEL: &[u8] = b"__redis__:invalidate";
/// Keys taken out of a table that is too full before a command runs; as many more every further time that it still is.
const LIMIT_STEP: usize = 100;

/// CLIENT TRACKING of one client.
#[derive(Clone, Debug)]
pub struct Tracking {
    pub mode: TrackingMode,
    /// The client that is sent the messages in place of this one.
    pub redirect: Option<u64>,
    /// That client was not there any more when a message was to be sent.
    pub redirect_broken: bool,
    /// NOLOOP: nothing of what the client changes itself.
    pub no_loop: bool,
    /// CLIENT CACHING was said: the next command is an exception.
    pub caching: bool,
    /// In broadcast mode.
    pub prefixes: BTreeSet<Box<[u8]>>,
    /// What they take.
    pub prefix_bytes: usize,
}

/// Which keys a client hears of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackingMode {
    /// Those that it reads.
    Default,
    /// Those that it reads right after CLIENT CACHING YES.
    OptIn,
    /// Those that it reads, but for the command after CLIENT CACHING NO.
    OptOut,
    /// Those with its prefixes.
    Broadcast,
}

impl Tracking {
    /// Bytes that this takes.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.prefix_bytes
    }

    /// Is what the running command reads to be remembered?
    fn remembers(&self) -> bool {
        match self.mode {
            TrackingMode::Default => true,
            TrackingMode::OptIn => self.caching,
            TrackingMode::OptOut => !self.caching,
            TrackingMode::Broadcast => false,
        }
    }
}

/// Who is to hear of which key.
pub struct Table {
    readers: Dict<Readers>,
    /// Readers of all keys together.
    items: usize,
    prefixes: BTreeMap<Box<[u8]>, Prefix>,
    clients: usize,
    /// What has happened since the last messages.
    news: News,
    /// How often in a row the table was still too full after keys had been taken out.
    overruns: usize,
}

/// The clients that have read a key, by their ids. Some may be gone.
#[derive(Clone)]
struct Readers {
    key: Key,
    ids: Vec<u64>,
}

impl Entry for Readers {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

#[derive(Default)]
struct Prefix {
    listeners: BTreeSet<Slot>,
    /// Keys changed since the last messages, and by whom.
    changed: BTreeMap<Box<[u8]>, Option<Slot>>,
}

#[derive(Default)]
struct News {
    any: bool,
    /// All keys of a database have gone, before the rest.
    flushed: bool,
    invalid: Vec<Invalid>,
}

struct Invalid {
    key: Key,
    ids: Vec<u64>,
    by: Option<Slot>,
}

impl Table {
    /// Nobody tracks anything.
    pub fn new(seed: HashSeed) -> Self {
        Self {
            readers: Dict::new(seed),
            items: 0,
            prefixes: BTreeMap::new(),
            clients: 0,
            news: News::default(),
            overruns: 0,
        }
    }

    /// Clients that track.
    pub fn clients(&self) -> usize {
        self.clients
    }

    /// Keys with readers.
    pub fn keys(&self) -> usize {
        self.readers.len()
    }

    /// Readers of all keys together.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Prefixes that somebody listens to.
    pub fn prefixes(&self) -> usize {
        self.prefixes.len()
    }

    /// Starts tracking for a client, or changes how it is done; its prefixes stay, those of `tracking` are added.
    pub fn enable(&mut self, client: &mut ClientState, mut tracking: Tracking) {
        for prefix in &tracking.prefixes {
            self.prefixes.entry(prefix.clone()).or_default().listeners.insert(client.slot);
        }
        match client.tracking.take() {
            Some(before) => tracking.prefixes.extend(before.prefixes),
            None => self.clients += 1,
        }
        tracking.prefix_bytes =
            tracking.prefixes.iter().map(|prefix| prefix.len() + size_of_val(prefix)).sum();
        client.tracking = Some(Box::new(tracking));
    }

    /// Ends tracking for a client.
    pub fn disable(&mut self, client: &mut ClientState) {
        let Some(tracking) = client.tracking.take() else { return };
        for name in tracking.prefixes {
            if let Some(prefix) = self.prefixes.get_mut(&name) {
                prefix.listeners.remove(&client.slot);
                if prefix.listeners.is_empty() {
                    self.prefixes.remove(&name);
                }
            }
        }
        self.clients -= 1;
        if self.clients == 0 {
            // Its readers are nobody.
            self.readers.clear();
            self.items = 0;
            self.news = News::default();
        }
    }

    /// A key has changed; `by` a client's command, or by itself.
    pub fn key_changed(&mut self, key: &[u8], by: Option<Slot>) {
        if self.clients == 0 {
            return;
        }
        for (name, prefix) in &mut self.prefixes {
            if key.starts_with(name) {
                prefix.changed.insert(key.into(), by);
                self.news.any = true;
            }
        }
        self.invalidate(key, by);
    }

    fn invalidate(&mut self, key: &[u8], by: Option<Slot>) {
        if let Some(Readers { key, ids }) = self.readers.remove(key) {
            self.items -= ids.len();
            self.news.invalid.push(Invalid { key, ids, by });
            self.news.any = true;
        }
    }

    /// All keys of a database have gone. Which database a key was read from is not known.
    pub fn all_changed(&mut self) {
        if self.clients == 0 {
            return;
        }
        self.readers.clear();
        self.items = 0;
        self.prefixes.values_mut().for_each(|prefix| prefix.changed.clear());
        self.news = News { any: true, flushed: true, invalid: Vec::new() };
    }

    fn remember(&mut self, key: &[u8], id: u64) {
        let (readers, _) =
            self.readers.get_or_insert_with(key, || Readers { key: Key::from(key), ids: Vec::new() });
        if let Err(at) = readers.ids.binary_search(&id) {
            readers.ids.insert(at, id);
            self.items += 1;
        }
    }

    /// Takes keys out of a table with more than `keys_max` (0: no limit).
    fn limit(&mut self, keys_max: u64, rng: &Rng) {
        let keys_max = usize::try_from(keys_max).ok().filter(|&max| max > 0).unwrap_or(usize::MAX);
        if self.readers.len() <= keys_max {
            self.overruns = 0;
            return;
        }
        for _ in 0..LIMIT_STEP * (self.overruns + 1) {
            let Some(key) = self.readers.random(&mut |n| rng.below(n)).map(|readers| readers.key.clone())
            else {
                break;
            };
            self.invalidate(&key, None);
            if self.readers.len() <= keys_max {
                self.overruns = 0;
                return;
            }
        }
        self.overruns += 1;
    }
}

/// Where the messages of the client whose command runs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    BeforeReply,
    AfterReply,
}

/// What a message is about.
enum Payload {
    /// Everything.
    All,
    /// An array of keys, as it is sent.
    Keys(Vec<u8>),
}

impl Payload {
    fn of<'k>(keys: impl ExactSizeIterator<Item = &'k [u8]>) -> Self {
        // Arrays and strings are the same in both versions of the protocol.
        let mut writer = ReplyWriter::new(Resp::V2);
        writer.array(keys.len());
        keys.for_each(|key| writer.bulk(key));
        Self::Keys(writer.out.contiguous().to_vec())
    }

    fn write(&self, reply: &mut ReplyWriter) {
        match self {
            Self::All => reply.null(),
            Self::Keys(encoded) => reply.out.append(encoded),
        }
    }
}

impl Context<'_> {
    /// The client has run a command that reads: remembers its keys, if the client wants to hear of them.
    pub(crate) fn remember_read_keys(&mut self) {
        let Some(tracking) = &self.client.tracking else { return };
        if !tracking.remembers() {
            return;
        }
        let mut positions = std::mem::take(&mut self.shared.key_positions);
        // Keys that cannot be told apart made the command fail: then it has read none.
        let _ = self.command.key_positions(self.args, &mut positions);
        for &at in &positions {
            self.shared.tracking.remember(self.args.at(at), self.client.id);
        }
        self.shared.key_positions = positions;
    }

    /// Keeps the table within `tracking-table-max-keys`.
    pub(crate) fn limit_tracking(&mut self) {
        if self.shared.tracking.clients > 0 {
            self.shared.tracking.limit(self.shared.config.tracking_table_max_keys, &self.shared.rng);
        }
    }

    /// Tells everybody what they may not keep any longer.
    pub(crate) fn send_invalidations(&mut self, place: Place) {
        if !self.shared.tracking.news.any {
            return;
        }
        let News { flushed, invalid, .. } = std::mem::take(&mut self.shared.tracking.news);
        if flushed {
            let tracks = |(slot, client): (Slot, &Option<Box<crate::client::Client>>)| {
                client.as_ref().is_some_and(|client| client.state.tracking.is_some()).then_some(slot)
            };
            let mut slots: Vec<Slot> = self.shared.clients.iter().filter_map(tracks).collect();
            slots.extend(self.client.tracking.is_some().then_some(self.client.slot));
            slots.into_iter().for_each(|slot| self.invalidate(slot, place, &Payload::All));
        }
        for Invalid { key, ids, by } in invalid {
            let payload = Payload::of([&*key].into_iter());
            for id in ids {
                let Some(&slot) = self.shared.slots_by_id.get(&id) else { continue };
                let hears = self.tracking_of(slot).is_some_and(|tracking| {
                    tracking.mode != TrackingMode::Broadcast && !(tracking.no_loop && by == Some(slot))
                });
                if hears {
                    self.invalidate(slot, place, &payload);
                }
            }
        }
        let changed = |prefix: &mut Prefix| {
            let changed = std::mem::take(&mut prefix.changed);
            (!changed.is_empty()).then(|| (prefix.listeners.clone(), changed))
        };
        let broadcasts: Vec<_> = self.shared.tracking.prefixes.values_mut().filter_map(changed).collect();
        for (listeners, changed) in broadcasts {
            let all = Payload::of(changed.keys().map(|key| &**key));
            for slot in listeners {
                if !self.tracking_of(slot).is_some_and(|tracking| tracking.no_loop) {
                    self.invalidate(slot, place, &all);
                    continue;
                }
                let of_others: Vec<&[u8]> =
                    changed.iter().filter(|(_, by)| **by != Some(slot)).map(|(key, _)| &**key).collect();
                if !of_others.is_empty() {
                    self.invalidate(slot, place, &Payload::of(of_others.into_iter()));
                }
            }
        }
    }

    /// Sends a message to a client that tracks, or to whom it has named in its place.
    fn invalidate(&mut self, slot: Slot, place: Place, payload: &Payload) {
        let Some(redirect) = self.tracking_of(slot).map(|tracking| tracking.redirect) else { return };
        let receiver = match redirect {
            None => slot,
            Some(id) => match self.shared.slots_by_id.get(&id) {
                Some(&receiver) => receiver,
                None => return self.redirect_is_broken(slot, place, id),
            },
        };
        let Some((resp, subscribed)) = self.connection_of(receiver) else { return };
        if resp == Resp::V3 {
            self.tell(receiver, place, |reply| {
                reply.push(2);
                reply.bulk(b"invalidate");
                payload.write(reply);
            });
        } else if redirect.is_some() && subscribed {
            self.tell(receiver, place, |reply| {
                reply.push(3);
                reply.bulk(b"message");
                reply.bulk(CHANNEL);
                payload.write(reply);
            });
        }
    }

    /// The client hears that nobody can hear of changes for it any more.
    fn redirect_is_broken(&mut self, slot: Slot, place: Place, id: u64) {
        let state = if slot == self.client.slot {
            Some(&mut *self.client)
        } else {
            self.shared.client(slot).map(|client| &mut client.state)
        };
        if let Some(tracking) = state.and_then(|state| state.tracking.as_mut()) {
            tracking.redirect_broken = true;
        }
        if self.connection_of(slot).is_some_and(|(resp, _)| resp == Resp::V3) {
            self.tell(slot, place, |reply| {
                reply.push(2);
                reply.bulk(b"tracking-redir-broken");
                reply.int(id as i64);
            });
        }
    }

    fn tell(&mut self, slot: Slot, place: Place, write: impl FnOnce(&mut ReplyWriter)) {
        if slot == self.client.slot && place == Place::BeforeReply {
            write(self.reply);
            self.depends_on_everything();
        } else {
            self.deliver(slot, write);
        }
    }

    fn tracking_of(&self, slot: Slot) -> Option<&Tracking> {
        if slot == self.client.slot {
            return self.client.tracking.as_deref();
        }
        self.shared.clients.get(slot)?.as_ref()?.state.tracking.as_deref()
    }

    /// The version of the protocol that a client speaks, and whether it listens to anything.
    fn connection_of(&self, slot: Slot) -> Option<(Resp, bool)> {
        if slot == self.client.slot {
            return Some((self.reply.resp, self.client.subscriptions.any()));
        }
        let client = self.shared.clients.get(slot)?.as_ref()?;
        Some((client.reply.resp, client.state.subscriptions.any()))
    }
}

#[cfg(test)]
#[path = "tracking_tests.rs"]
mod tests;
