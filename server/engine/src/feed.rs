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
    /// Nothing is told of the running unit.
    muted: bool,
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

    /// Counts on from `offset`, unless somebody is fed, who counts from where it began.
    pub fn go_on_from(&mut self, offset: u64) {
        if !self.on {
            self.cut = self.cut.max(offset);
        }
    }

    /// Nobody is told of the running unit, neither of what it has done nor of what it is going to do.
    pub fn mute_unit(&mut self) {
        self.unit.clear();
        self.unit_effects = 0;
        self.db = None;
        self.muted = true;
    }

    /// Forgets what the host has not taken.
    pub fn abandon(&mut self) {
        *self = Self { on: self.on, cut: self.cut, ..Self::default() };
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
        if self.muted {
            return;
        }
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
        self.muted = false;
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

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use super::Piece;
    use crate::client::{FeedStage, Slot};
    use crate::testing::TestEngine;

    fn fed() -> (TestEngine, Slot) {
        let mut server = TestEngine::new();
        server.engine.feed(true);
        let client = server.connect(Resp::V2);
        (server, client)
    }

    fn pieces(server: &mut TestEngine) -> Vec<Piece> {
        let mut pieces = Vec::new();
        server.engine.shared.effects.take_pieces(&mut pieces);
        pieces
    }

    /// What replicas are told, a line for each command.
    fn told(server: &mut TestEngine) -> Vec<String> {
        let text: Vec<u8> = pieces(server).into_iter().flat_map(|piece| piece.bytes).collect();
        let text = String::from_utf8(text).expect("text");
        let mut commands: Vec<Vec<&str>> = Vec::new();
        for line in text.lines() {
            match line.as_bytes() {
                [b'*', b'0'..=b'9', ..] => commands.push(Vec::new()),
                [b'$', b'0'..=b'9', ..] => {}
                _ => commands.last_mut().expect("a command begins with its length").push(line),
            }
        }
        commands.into_iter().map(|words| words.join(" ")).collect()
    }

    #[test]
    fn nothing_is_written_for_nobody() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "SET k v");
        server.run(a, "PUBLISH c m");
        assert!(pieces(&mut server).is_empty());
        assert_eq!(server.engine.shared.effects.fed_offset(), 0);
    }

    #[test]
    fn units_of_several_effects_are_transactions_and_databases_are_selected() {
        let (mut server, a) = fed();
        server.run(a, "SET k v");
        assert_eq!(told(&mut server), ["SELECT 0", "SET k v"]);
        server.run(a, "MULTI");
        server.run(a, "INCR n");
        server.run(a, "SELECT 2");
        server.run(a, "SET m 1 EX 100");
        server.run(a, "GET m");
        server.run(a, "EXEC");
        let at_ms = server.now_ms + 100_000;
        let expected = ["MULTI", "INCR n", "SELECT 2", &format!("SET m 1 PXAT {at_ms}"), "EXEC"];
        assert_eq!(told(&mut server), expected);
        server.run(a, "MULTI");
        server.run(a, "SET k w");
        server.run(a, "EXEC");
        server.run(a, "GET k");
        assert_eq!(told(&mut server), ["SET k w"]);
    }

    #[test]
    fn what_readers_and_time_remove_is_told_one_by_one() {
        let (mut server, a) = fed();
        for key in ["a", "b", "c", "d"] {
            server.run(a, &format!("SET {key} v PX 10"));
        }
        told(&mut server);
        server.now_ms += 10;
        server.run(a, "MGET a b");
        assert_eq!(told(&mut server), ["DEL a", "DEL b"]);
        server.run(a, "CONFIG SET lazyfree-lazy-expire yes");
        server.advance(1);
        let mut rest = told(&mut server);
        rest.sort();
        assert_eq!(rest, ["UNLINK c", "UNLINK d"]);
    }

    #[test]
    fn a_piece_depends_on_its_batch_and_a_message_on_the_newest() {
        let (mut server, a) = fed();
        server.send_held(a, &[b"SET", b"k", b"v"]);
        let written = server.batches.last().expect("an effect").seq;
        server.send_held(a, &[b"PUBLISH", b"c", b"m"]);
        let seqs: Vec<u64> = pieces(&mut server).iter().map(|piece| piece.seq).collect();
        assert_eq!(seqs, [written, written]);
    }

    #[test]
    fn the_words_are_those_of_redis() {
        let (mut server, a) = fed();
        server.run(a, "CONFIG SET lazyfree-lazy-server-del yes");
        server.run(a, "XADD s 1-1 f v");
        server.run(a, "XGROUP CREATE s g 0");
        server.run(a, "SADD set a");
        server.run(a, "SET k pxat pxat 99999999999999");
        told(&mut server);
        let now_ms = server.now_ms;
        server.run(a, "XREADGROUP GROUP g c STREAMS s >");
        assert_eq!(
            told(&mut server),
            [
                "MULTI".to_owned(),
                format!("XCLAIM s g c 0 1-1 TIME {now_ms} RETRYCOUNT 1 FORCE JUSTID LASTID 1-1"),
                "XGROUP SETID s g 1-1 ENTRIESREAD 1".to_owned(),
                "EXEC".to_owned(),
            ]
        );
        for (line, words) in [
            ("XREADGROUP GROUP g d STREAMS s >", "XGROUP CREATECONSUMER s g d"),
            ("SPOP set 5", "UNLINK set"),
            ("FLUSHDB", "FLUSHDB"),
            ("FLUSHALL", "FLUSHALL"),
            ("PUBLISH c m", "PUBLISH c m"),
            ("SET k v pxat 99999999999999", "SET k v pxat 99999999999999"),
        ] {
            server.run(a, line);
            assert_eq!(told(&mut server), [words], "{line}");
        }
        server.run(a, "SCRIPT FLUSH");
        assert_eq!(told(&mut server), [""; 0], "replicas run no scripts");
    }

    #[test]
    fn wait_counts_replicas_that_have_said_so() {
        let (mut server, a) = fed();
        let replica = server.connect(Resp::V2);
        assert_eq!(server.run(replica, "REPLCONF listening-port 7001"), "+OK\r\n");
        assert_eq!(server.run(replica, "SYNC"), "");
        let slot = server.engine.client(replica).expect("connected");
        slot.state.replica.as_mut().expect("it is one").stage = Some(FeedStage::Online);
        server.run(a, "SET k v");
        let written = server.engine.shared.effects.fed_offset();
        told(&mut server);
        assert_eq!(server.run(a, "WAIT 1 0"), "");
        assert_eq!(told(&mut server), ["REPLCONF GETACK *"]);
        server.run(replica, &format!("REPLCONF ACK {}", written - 1));
        server.advance(1);
        assert_eq!(server.output(a), b"");
        server.run(replica, &format!("REPLCONF ACK {written}"));
        server.advance(1);
        assert!(server.output(a).starts_with(b":1\r\n"));
        assert_eq!(server.run(a, "WAIT 2 50"), "");
        server.advance(50);
        assert_eq!(server.output(a), b":1\r\n");
        server.run(a, "CONFIG SET min-replicas-to-write 1");
        assert_eq!(server.run(a, "SET k v"), "+OK\r\n");
        let info = server.run(a, "INFO replication");
        let line = format!("slave0:ip=127.0.0.1,port=7001,state=online,offset={written},lag=0");
        assert!(info.contains(&line) && info.contains("connected_slaves:1"), "{info}");
        let role = format!("$9\r\n127.0.0.1\r\n$4\r\n7001\r\n${}\r\n{written}", written.to_string().len());
        assert!(server.run(a, "ROLE").contains(&role));
        assert!(server.run(a, "CLIENT LIST TYPE replica").contains(" flags=S "));
        assert_eq!(server.run(a, "CLIENT KILL TYPE replica"), ":1\r\n");
        assert!(server.engine.shared.replicas.is_empty());
        assert!(server.run(a, "SET k v").starts_with("-NOREPLICAS "));
    }

    #[test]
    fn a_follower_feeds_nobody() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.host.show(crate::testing::three_nodes(1, Some(0)));
        server.engine.follow();
        let refusal = server.run(a, "PSYNC ? -1");
        assert!(refusal.starts_with("-NOMASTERLINK ") && refusal.contains("127.0.0.1:7001"), "{refusal}");
        assert!(server.engine.shared.replicas.is_empty());
    }
}
