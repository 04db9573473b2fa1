//! Keys on their way into a database, some at a time: their places in its tables are fetched from memory together
//! instead of one after the other, which is most of what loading short values takes.

use crate::ds::Key;
use crate::keyspace::{Db, ExpireEntry, KeyEntry};

/// As many as are worth fetching at a time.
const LEN: usize = 32;

/// Up to [`LEN`] keys of one database.
#[derive(Default)]
pub struct Batch {
    waiting: Vec<Waiting>,
    hashes: Vec<u64>,
}

struct Waiting {
    entry: KeyEntry,
    expire_at_ms: Option<i64>,
    /// Where the key stands in the file.
    offset: u64,
}

/// A key that the database has already.
pub struct Duplicate {
    pub key: Key,
    pub offset: u64,
}

impl Batch {
    /// Adds a key of `db`; from time to time they go in.
    pub fn push(
        &mut self,
        db: &mut Db,
        entry: KeyEntry,
        expire_at_ms: Option<i64>,
        offset: u64,
    ) -> Result<(), Duplicate> {
        self.hashes.push(db.dict.hash(&entry.key));
        self.waiting.push(Waiting { entry, expire_at_ms, offset });
        if self.waiting.len() == LEN { self.flush(db) } else { Ok(()) }
    }

    /// Puts the rest into `db`.
    pub fn flush(&mut self, db: &mut Db) -> Result<(), Duplicate> {
        db.dict.prefetch(&self.hashes);
        for (hash, Waiting { entry, expire_at_ms, offset }) in
            self.hashes.drain(..).zip(self.waiting.drain(..))
        {
            if let Some(at_ms) = expire_at_ms {
                db.expires.insert_hashed(hash, ExpireEntry { key: entry.key.clone(), at_ms });
            }
            db.note_field_times(&entry);
            if let Some(KeyEntry { key, .. }) = db.dict.insert_hashed(hash, entry) {
                return Err(Duplicate { key, offset });
            }
        }
        Ok(())
    }
}
