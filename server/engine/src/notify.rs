//! Keyspace notifications: which event belongs to which class, and their delivery.

use crate::config::NotifyFlags;
use crate::context::Context;

/// The class of an event, as `notify-keyspace-events` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `g`: DEL, EXPIRE, RENAME …
    Generic,
    /// `$`
    String,
    /// `l`
    List,
    /// `s`
    Set,
    /// `h`
    Hash,
    /// `z`
    Zset,
    /// `x`
    Expired,
    /// `e`
    Evicted,
    /// `t`
    Stream,
    /// `m`
    Miss,
    /// `n`
    New,
}

impl Class {
    fn flag(self) -> NotifyFlags {
        match self {
            Self::Generic => NotifyFlags::GENERIC,
            Self::String => NotifyFlags::STRING,
            Self::List => NotifyFlags::LIST,
            Self::Set => NotifyFlags::SET,
            Self::Hash => NotifyFlags::HASH,
            Self::Zset => NotifyFlags::ZSET,
            Self::Expired => NotifyFlags::EXPIRED,
            Self::Evicted => NotifyFlags::EVICTED,
            Self::Stream => NotifyFlags::STREAM,
            Self::Miss => NotifyFlags::KEY_MISS,
            Self::New => NotifyFlags::NEW,
        }
    }
}

impl Context<'_> {
    /// Publishes an event of a key of the running command's database, when somebody may want it.
    pub fn notify(&mut self, class: Class, event: &str, key: &[u8]) {
        let db = self.keys.selected();
        self.notify_in(db, class, event, key);
    }

    /// Publishes `new` for keys that came into being: before the event that tells how.
    pub(crate) fn notify_new_keys(&mut self) {
        if self.keys.new_keys.is_empty() {
            return;
        }
        for (db, key) in std::mem::take(&mut self.keys.new_keys) {
            self.notify_in(db, Class::New, "new", &key);
        }
    }

    /// Publishes an event of a key of database `db`.
    pub fn notify_in(&mut self, db: usize, class: Class, event: &str, key: &[u8]) {
        self.notify_new_keys();
        let flags = self.shared.config.notify_keyspace_events;
        if !flags.contains(class.flag()) || self.mode.applying {
            return;
        }
        if flags.contains(NotifyFlags::KEYSPACE) {
            let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
            self.publish(&channel, event.as_bytes());
        }
        if flags.contains(NotifyFlags::KEYEVENT) {
            let channel = format!("__keyevent@{db}__:{event}");
            self.publish(channel.as_bytes(), key);
        }
    }
}
