//! The stream of commands that replicas of Redis's kind are fed: the effects, in Redis's own protocol.
//!
//! ```text
//! unit of one effect      [SELECT db]  effect
//! unit of several         MULTI  ([SELECT db]  effect)…  EXEC
//! in between              PING, REPLCONF GETACK *
//! ```
//!
//! Nothing is written while nobody is fed. What is written comes in pieces, each with the position of the journal that its
//! effects are at: a piece may leave once that is released. The host keeps the pieces and sends them.

use cairn_proto::encode_request;

/// A part of the stream, whole units.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// It may be sent once this batch is released.
    pub seq: u64,
    pub bytes: Vec<u8>,
}

/// The stream being written.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    on: bool,
    /// The database that the stream has selected so far.
    db: Option<usize>,
    /// The running unit, and the number of its effects.
    unit: Vec<u8>,
    unit_effects: usize,
    /// Whole units that are in no piece yet.
    open: Vec<u8>,
    pieces: Vec<Piece>,
    /// Bytes of all pieces so far.
    cut: u64,
    /// [`Feed::ask`] has been called since the last piece.
    asked: bool,
}

impl Feed {
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Begins a stream, or ends it; what is not taken is dropped. A new one starts a byte further, as Redis's does.
    pub fn switch(&mut self, on: bool) {
        *self = Self { on, cut: self.cut + u64::from(on), ..Self::default() };
    }

    /// Forgets what the host has not taken.
    pub fn abandon(&mut self) {
        self.switch(self.on);
    }

    /// Whoever is fed from here on has no database selected yet.
    pub fn select_anew(&mut self) {
        self.db = None;
    }

    /// Bytes of the stream so far, as replicas count them; the running unit not counted.
    pub fn offset(&self) -> u64 {
        self.cut + self.open.len() as u64
    }

    /// Bytes that the host has not taken yet.
    pub fn len(&self) -> usize {
        self.unit.len() + self.open.len() + self.pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>()
    }

    pub fn unit_len(&self) -> usize {
        self.unit.len()
    }

    /// Adds an effect to the running unit.
    pub fn add(&mut self, db: usize, argv: &[&[u8]]) {
        if self.db != Some(db) {
            self.db = Some(db);
            encode_request(&[b"SELECT", itoa::Buffer::new().format(db).as_bytes()], &mut self.unit);
        }
        encode_request(argv, &mut self.unit);
        self.unit_effects += 1;
    }

    /// Says something to replicas that changes nothing, between units.
    pub fn say(&mut self, argv: &[&[u8]]) {
        encode_request(argv, &mut self.open);
    }

    /// Asks the replicas how far they have come, once for all who want to know at the moment.
    pub fn ask(&mut self) {
        if !std::mem::replace(&mut self.asked, true) {
            self.say(&[b"REPLCONF", b"GETACK", b"*"]);
        }
    }

    /// Ends the unit. `apart`: its effects have nothing to do with each other, so that nobody minds seeing one without the
    /// other.
    pub fn end_unit(&mut self, apart: bool) {
        if self.unit_effects == 0 {
            return;
        }
        let whole = self.unit_effects > 1 && !apart;
        if whole {
            encode_request(&[b"MULTI"], &mut self.open);
        }
        self.open.append(&mut self.unit);
        if whole {
            encode_request(&[b"EXEC"], &mut self.open);
        }
        self.unit_effects = 0;
    }

    /// What was written since the last cut depends on the batch `seq`.
    pub fn cut(&mut self, seq: u64) {
        if !self.open.is_empty() {
            let bytes = std::mem::take(&mut self.open);
            self.cut += bytes.len() as u64;
            self.asked = false;
            self.pieces.push(Piece { seq, bytes });
        }
    }

    /// The pieces since the last call, oldest first.
    pub fn take(&mut self, into: &mut Vec<Piece>) {
        into.append(&mut self.pieces);
    }
}
