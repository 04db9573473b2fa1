//! Keyspace notifications: which event belongs to which class, and their delivery.

pub use crate::config::NotifyFlags;
use crate::context::Context;

/// The class of an event, as `notify-keyspace-events` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// `g`: DEL, EXPIRE, RENAME …
    Generic = b'g',
    /// `$`
    String = b'$',
    /// `l`
    List = b'l',
    /// `s`
    Set = b's',
    /// `h`
    Hash = b'h',
    /// `z`
    Zset = b'z',
    /// `x`
    Expired = b'x',
    /// `e`
    Evicted = b'e',
    /// `t`
    Stream = b't',
    /// `m`
    Miss = b'm',
    /// `n`
    New = b'n',
}

impl Context<'_> {
    /// Publishes an event of a key of the running command's database, when somebody may want it.
    pub fn notify(&mut self, class: Class, event: &str, key: &[u8]) {
        let db = self.keys.selected();
        self.notify_in(db, class, event, key);
    }

    /// Publishes an event of a key of database `db`.
    pub fn notify_in(&mut self, db: usize, class: Class, event: &str, key: &[u8]) {
        let flags = self.shared.config.notify_keyspace_events;
        if flags.is_empty() || self.mode.applying || !flags.has(class as u8) {
            return;
        }
        if flags.has(b'K') {
            let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
            self.publish(&channel, event.as_bytes());
        }
        if flags.has(b'E') {
            let channel = format!("__keyevent@{db}__:{event}");
            self.publish(channel.as_bytes(), key);
        }
    }
}
