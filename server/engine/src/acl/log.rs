//! ACL LOG: what was refused to whom, newest first.

use std::collections::VecDeque;

/// Refusals that are alike count as one when they are not further apart than this.
const GROUPING_MS: i64 = 60_000;
/// Bytes of a name or key that an entry keeps: either may be as long as a client likes.
const SHOWN_BYTES_MAX: usize = 1024;
/// So many of the newest entries are looked at for one that is alike.
const LOOKED_AT: usize = 10;

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Auth,
    Command,
    Key,
    Channel,
}

impl Reason {
    /// The name in ACL LOG.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
        }
    }
}

/// In what the refused command was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    TopLevel,
    Multi,
    Lua,
}

impl Setting {
    /// The name in ACL LOG.
    pub fn name(self) -> &'static str {
        match self {
            Self::TopLevel => "toplevel",
            Self::Multi => "multi",
            Self::Lua => "lua",
        }
    }
}

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub setting: Setting,
    /// The command, key or channel; for a log-in the command that asked for it.
    pub object: Vec<u8>,
    pub user: Vec<u8>,
}

/// Refusals that are alike.
#[derive(Clone, Debug)]
pub struct LogEntry {
    pub id: u64,
    pub count: u64,
    pub refusal: Refusal,
    pub first_at_ms: i64,
    pub last_at_ms: i64,
    /// Of the last one.
    pub client: String,
}

/// The log.
#[derive(Clone, Debug, Default)]
pub struct AccessLog {
    pub entries: VecDeque<LogEntry>,
    next_id: u64,
}

impl AccessLog {
    /// Writes a refusal down, keeping at most `len_max` entries.
    pub fn add(&mut self, mut refusal: Refusal, client: String, now_ms: i64, len_max: usize) {
        for text in [&mut refusal.object, &mut refusal.user] {
            text.truncate(SHOWN_BYTES_MAX);
            text.shrink_to_fit();
        }
        let alike =
            self.entries.iter().take(LOOKED_AT).position(|entry| {
                (now_ms - entry.last_at_ms).abs() <= GROUPING_MS && entry.refusal == refusal
            });
        let entry = match alike.and_then(|at| self.entries.remove(at)) {
            Some(entry) => LogEntry { count: entry.count + 1, last_at_ms: now_ms, client, ..entry },
            None => {
                let id = self.next_id;
                self.next_id += 1;
                LogEntry { id, count: 1, refusal, first_at_ms: now_ms, last_at_ms: now_ms, client }
            }
        };
        self.entries.push_front(entry);
        self.entries.truncate(len_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_no_larger_than_it_is_worth() {
        let mut log = AccessLog::default();
        let long = vec![b'k'; 1 << 20];
        let refusal =
            Refusal { reason: Reason::Key, setting: Setting::TopLevel, object: long.clone(), user: long };
        log.add(refusal.clone(), String::new(), 0, 10);
        log.add(refusal, String::new(), 1, 10);
        let [entry] = &log.entries.make_contiguous()[..] else { panic!("those two are alike") };
        assert_eq!(entry.count, 2);
        assert_eq!(entry.refusal.object, [b'k'; SHOWN_BYTES_MAX]);
        assert!(entry.refusal.object.capacity() + entry.refusal.user.capacity() < 4 * SHOWN_BYTES_MAX);
    }
}
