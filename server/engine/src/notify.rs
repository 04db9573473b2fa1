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
    /// `d`: types that are modules' in Redis.
    Module,
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
            Self::Module => NotifyFlags::MODULE,
        }
    }
}

impl Context<'_> {
    /// Publishes an event of a key of the running command's database, when somebody may want it.
    pub fn notify(&mut self, class: Class, event: &str, key: &[u8]) {
        let db = self.keys.selected();
        self.notify_in(db, class, event, key);
    }

    /// Publishes `keymiss` for keys that were looked up in vain, and `new` for keys that came into being: before the
    /// event that tells how.
    pub(crate) fn notify_noted_keys(&mut self) {
        if !self.keys.report_misses && self.keys.new_keys.is_empty() {
            return;
        }
        // Both first: publishing comes back here.
        let (missed, new) = (self.keys.take_missed(), std::mem::take(&mut self.keys.new_keys));
        for (db, key) in missed {
            self.notify_in(db, Class::Miss, "keymiss", &key);
        }
        for (db, key) in new {
            self.notify_in(db, Class::New, "new", &key);
        }
    }

    /// Publishes an event of a key of database `db`.
    pub fn notify_in(&mut self, db: usize, class: Class, event: &str, key: &[u8]) {
        self.notify_noted_keys();
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

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::testing::TestEngine;

    /// GET and a few others told of it, all others were silent.
    #[test]
    fn every_command_that_reads_tells_of_a_key_that_is_not_there() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "CONFIG SET notify-keyspace-events EAmn");
        for line in [
            "GET k",
            "GETDEL k",
            "STRLEN k",
            "GETRANGE k 0 1",
            "GETBIT k 1",
            "BITCOUNT k",
            "EXISTS k",
            "TOUCH k",
            "TYPE k",
            "TTL k",
            "DUMP k",
            "COPY k other",
            "HGET k f",
            "HGETALL k",
            "HSCAN k 0",
            "LLEN k",
            "LRANGE k 0 1",
            "SCARD k",
            "SISMEMBER k m",
            "SRANDMEMBER k",
            "SINTERCARD 1 k",
            "ZCARD k",
            "ZSCORE k m",
            "ZRANGE k 0 1",
            "ZCOUNT k 0 1",
            "GEOPOS k m",
            "PFCOUNT k",
            "XLEN k",
            "XRANGE k - +",
            "XPENDING k g",
            "XAUTOCLAIM k g c 0 0",
        ] {
            assert_eq!(server.events_of(a, line), ["keymiss k"], "{line}");
        }
        assert_eq!(server.events_of(a, "MGET k l"), ["keymiss k", "keymiss l"]);
        for silent in ["OBJECT ENCODING k", "DEL k", "HDEL k f", "LPOP k", "GETSET missed v2", "SADD s m"] {
            let events = server.events_of(a, silent);
            let expected: &[&str] = match silent {
                "GETSET missed v2" => &["keymiss missed", "new missed", "set missed"],
                "SADD s m" => &["new s", "sadd s"],
                _ => &[],
            };
            assert_eq!(events, expected, "{silent}");
        }
        assert_eq!(
            server.events_of(a, "SUNIONSTORE d s k"),
            ["keymiss k", "new d", "sunionstore d"],
            "in the order in which it happens"
        );
    }

    #[test]
    fn nobody_hears_of_misses_while_a_batch_is_applied() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "CONFIG SET notify-keyspace-events EAm");
        server.run(a, "PFADD h m");
        server.run(a, "PFMERGE d h");
        let mut replica = server.replica();
        assert!(replica.engine.keys.take_missed().is_empty());
        let b = replica.connect(Resp::V2);
        assert_eq!(replica.events_of(b, "PING"), [""; 0]);
    }
}
