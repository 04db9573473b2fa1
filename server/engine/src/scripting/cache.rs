//! The scripts that are known by their SHA-1.

use sha1::{Digest, Sha1};
use std::collections::HashMap;
use std::sync::Arc;

use super::ScriptFlags;

/// How many scripts that only EVAL has brought are kept; SCRIPT LOAD's stay until SCRIPT FLUSH.
pub const EVAL_SCRIPTS_MAX: usize = 500;

/// The SHA-1 of a script's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sha([u8; 20]);

impl Sha {
    /// Hexadecimal digits of it.
    pub const DIGITS: usize = 40;

    pub fn of(source: &[u8]) -> Sha {
        Sha(Sha1::digest(source).into())
    }

    /// Reads 40 hexadecimal digits of either case, as given to EVALSHA.
    pub fn parse(hex: &[u8]) -> Option<Sha> {
        let hex: &[u8; Self::DIGITS] = hex.try_into().ok()?;
        let digit = |c: u8| char::from(c).to_digit(16);
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Some(Sha(bytes))
    }

    /// In lower case.
    pub fn hex(&self) -> [u8; Self::DIGITS] {
        let mut hex = [0; Self::DIGITS];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
            pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
        }
        hex
    }
}

/// How a script came into the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// EVAL: may be forgotten when there are too many.
    Eval,
    /// SCRIPT LOAD: its client counts on EVALSHA finding it.
    Load,
}

/// A script in the cache.
#[derive(Clone, Debug)]
pub struct Script {
    /// The text as the client sent it, shebang line included.
    pub source: Arc<[u8]>,
    pub flags: ScriptFlags,
    /// The reference of the compiled function in the Lua registry.
    pub(super) function: i32,
    origin: Origin,
    /// Ticks of [`ScriptCache::clock`].
    last_used: u64,
}

/// Scripts by SHA-1, with a limit on those that came by EVAL: the least recently used one makes room.
#[derive(Debug, Default)]
pub struct ScriptCache {
    scripts: HashMap<Sha, Script>,
    eval_scripts: usize,
    clock: u64,
    source_bytes: usize,
    evicted: u64,
}

impl ScriptCache {
    pub fn get(&self, sha: &Sha) -> Option<&Script> {
        self.scripts.get(sha)
    }

    pub fn len(&self) -> usize {
        self.scripts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.scripts.is_empty()
    }

    /// Bytes of source text held.
    pub fn source_bytes(&self) -> usize {
        self.source_bytes
    }

    /// Scripts forgotten to make room, since the server started (`evicted_scripts` of INFO).
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Marks a script as just used, and as loaded if SCRIPT LOAD asks. None if it is not there.
    pub(super) fn touch(&mut self, sha: &Sha, origin: Origin) -> Option<&Script> {
        let script = self.scripts.get_mut(sha)?;
        self.clock += 1;
        script.last_used = self.clock;
        if origin == Origin::Load && script.origin == Origin::Eval {
            script.origin = Origin::Load;
            self.eval_scripts -= 1;
        }
        Some(script)
    }

    /// Adds a script that is not there. Returns the compiled function of the one forgotten for it.
    pub(super) fn insert(
        &mut self,
        sha: Sha,
        source: Arc<[u8]>,
        flags: ScriptFlags,
        function: i32,
        origin: Origin,
    ) -> Option<i32> {
        let freed = if origin == Origin::Eval { self.make_room() } else { None };
        self.clock += 1;
        self.source_bytes += source.len();
        let script = Script { source, flags, function, origin, last_used: self.clock };
        let before = self.scripts.insert(sha, script);
        assert!(before.is_none(), "a script is added once");
        self.eval_scripts += usize::from(origin == Origin::Eval);
        freed
    }

    /// Forgets the least recently used script of EVAL if there are as many as may be. A scan: it only
    /// happens when a script has been compiled, which costs more.
    fn make_room(&mut self) -> Option<i32> {
        if self.eval_scripts < EVAL_SCRIPTS_MAX {
            return None;
        }
        let evictable = self.scripts.iter().filter(|(_, script)| script.origin == Origin::Eval);
        let oldest = *evictable.min_by_key(|(_, script)| script.last_used)?.0;
        let script = self.scripts.remove(&oldest)?;
        self.eval_scripts -= 1;
        self.source_bytes -= script.source.len();
        self.evicted += 1;
        Some(script.function)
    }

    /// SCRIPT FLUSH.
    pub(super) fn clear(&mut self) {
        *self = ScriptCache { evicted: self.evicted, ..ScriptCache::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(cache: &mut ScriptCache, n: usize, origin: Origin) -> Option<i32> {
        let source = format!("return {n}").into_bytes();
        cache.insert(Sha::of(&source), source.into(), ScriptFlags::default(), n as i32, origin)
    }

    fn sha(n: usize) -> Sha {
        Sha::of(format!("return {n}").as_bytes())
    }

    #[test]
    fn the_least_recently_used_eval_script_makes_room() {
        let mut cache = ScriptCache::default();
        add(&mut cache, 1_000_000, Origin::Load);
        for n in 0..EVAL_SCRIPTS_MAX {
            assert_eq!(add(&mut cache, n, Origin::Eval), None);
        }
        cache.touch(&sha(0), Origin::Eval).unwrap();
        assert_eq!(add(&mut cache, EVAL_SCRIPTS_MAX, Origin::Eval), Some(1));
        assert!(cache.get(&sha(0)).is_some());
        assert!(cache.get(&sha(1)).is_none());
        assert!(cache.get(&sha(1_000_000)).is_some());
        assert_eq!((cache.len(), cache.evicted()), (EVAL_SCRIPTS_MAX + 1, 1));
    }

    #[test]
    fn script_load_keeps_what_eval_brought() {
        let mut cache = ScriptCache::default();
        add(&mut cache, 0, Origin::Eval);
        cache.touch(&sha(0), Origin::Load).unwrap();
        for n in 1..=EVAL_SCRIPTS_MAX {
            assert_eq!(add(&mut cache, n, Origin::Eval), None);
        }
        assert!(add(&mut cache, 9999, Origin::Eval).is_some());
        assert!(cache.get(&sha(0)).is_some());
    }

    #[test]
    fn hex_is_read_in_both_cases() {
        let sha = Sha::of(b"return 1");
        assert_eq!(&sha.hex(), b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_eq!(Sha::parse(&sha.hex().to_ascii_uppercase()), Some(sha));
        assert_eq!(Sha::parse(b"e0e1"), None);
        assert_eq!(Sha::parse(&[b'g'; 40]), None);
    }
}
