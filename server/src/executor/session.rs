//! Sessions whose client is connected to another node than the one that leads: what the two nodes say to each other,
//! and the leader's end of it.
//!
//! The follower opens one connection for the client to the leader's ordinary port and sends
//! `CLUSTER SESSION <token> <identity>`. The answer is one line: `+OK`, or an error, after which it is closed. Then
//! requests go to the leader as clients send them, and frames come back:
//!
//! ```text
//! 1 byte    kind
//! 4 bytes   length of the body (little endian)
//! body      DATA: output for the client, cut anywhere
//!           IDLE: 8 bytes (little endian): so many requests have been answered, and their output has gone before;
//!                 then the session's state, if it is another than at the last IDLE
//!           BYE:  empty; the client is to be disconnected
//! ```
//!
//! Without a BYE before its end, the connection was lost: what that means for the client depends on what it waited for.

use std::io::IoSlice;

use cairn_engine::acl::Login;
use cairn_engine::client::{Client, ReplyMode};
use cairn_proto::{Decoded, Limits, OutBuf, RequestDecoder, Resp, encode_request};

use super::forward::Away;

/// The name of the internal subcommand of CLUSTER.
pub const SUBCOMMAND: &[u8] = b"SESSION";
/// The line that accepts a session.
pub const WELCOME: &[u8] = b"+OK\r\n";
/// How the refusal begins of a node that does not lead.
pub const NOT_LEADER: &str = "NOTLEADER";
/// Identities are of this make.
const FORMAT: &[u8] = b"2";
/// Of names that clients choose, so much is told to the leader: more than anybody reads, and little enough for a
/// session's first request to pass before it has authenticated.
const NAME_BYTES_MAX: usize = 2048;

const DATA: u8 = 1;
const IDLE: u8 = 2;
const BYE: u8 = 3;
const HEADER_LEN: usize = 5;
/// The longest body of a DATA frame.
const DATA_MAX: usize = 1 << 30;
/// The longest body of another frame: a state with names of the longest kind, with room to spare.
const CONTROL_MAX: usize = 64 * 1024;

/// Where the session of a connection lives.
#[derive(Default)]
pub enum Session {
    /// Here, and its client is connected to this node.
    #[default]
    Local,
    /// At the leader; the client is connected to this node.
    Away(Box<Away>),
    /// Here; the client is connected to another node.
    Guest(Box<Guest>),
}

impl Session {
    /// Is there a request that cannot go on before something else has happened?
    pub fn waits(&self) -> bool {
        matches!(self, Self::Away(away) if away.waits())
    }

    /// Does it wait with so much under way that the client had better not send more?
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Away(away) if away.is_full())
    }

    /// Are answers of the leader outstanding?
    pub fn owes(&self) -> bool {
        matches!(self, Self::Away(away) if !away.is_idle())
    }

    /// What comes next has to come after the leader's answers.
    pub fn wait_for_answers(&mut self) {
        if let Self::Away(away) = self {
            away.wait_for_answers();
        }
    }

    /// Is it somebody else's business when this connection is closed for doing nothing?
    pub fn may_rest(&self) -> bool {
        match self {
            Self::Local => false,
            Self::Away(away) => away.is_bound() || !away.is_idle(),
            Self::Guest(_) => true,
        }
    }

    /// A request has been taken from the connection.
    pub fn count_request(&mut self) {
        if let Self::Guest(guest) = self {
            guest.executed += 1;
        }
    }

    /// Is there anything to be sent beside output?
    pub fn has_more(&self) -> bool {
        matches!(self, Self::Guest(guest) if guest.control_sent < guest.head.len() + guest.tail.len())
    }

    /// To be called before [`Session::io_slices`], when output up to `upto` may leave.
    pub fn prepare(&mut self, client: &Client, upto: u64) {
        if let Self::Guest(guest) = self {
            guest.prepare(client, upto);
        }
    }

    /// What is to be written to the socket next; how many slices that is.
    pub fn io_slices<'a>(&'a self, out: &'a OutBuf, upto: u64, slices: &mut [IoSlice<'a>]) -> usize {
        match self {
            Self::Guest(guest) => guest.io_slices(out, slices),
            _ => out.io_slices(upto, slices),
        }
    }

    /// The socket took `count` bytes.
    pub fn sent(&mut self, out: &mut OutBuf, count: usize) {
        match self {
            Self::Guest(guest) => guest.sent(out, count),
            _ => out.consume(count),
        }
    }
}

/// What makes a session go on elsewhere as if nothing had happened, and what forbids that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    pub db: usize,
    pub resp: Resp,
    pub reply_mode: ReplyMode,
    pub authenticated: bool,
    pub no_evict: bool,
    pub no_touch: bool,
    pub user: Vec<u8>,
    pub name: Vec<u8>,
    pub library_name: Vec<u8>,
    pub library_version: Vec<u8>,
    pub in_multi: bool,
    pub watching: bool,
    pub subscribed: bool,
    pub monitor: bool,
    pub tracking: bool,
}

impl SessionState {
    /// That of a client.
    pub fn of(client: &Client) -> Self {
        let state = &client.state;
        let cut = |name: &[u8]| name[..name.len().min(NAME_BYTES_MAX)].to_vec();
        Self {
            db: state.db,
            resp: client.reply.resp,
            reply_mode: state.reply_mode,
            authenticated: state.authenticated,
            no_evict: state.no_evict,
            no_touch: state.no_touch,
            user: state.login.name().to_vec(),
            name: cut(&state.name),
            library_name: cut(&state.library_name),
            library_version: cut(&state.library_version),
            in_multi: state.transaction.is_some(),
            watching: !state.watched.is_empty(),
            subscribed: state.subscriptions.any(),
            monitor: state.monitor,
            tracking: state.tracking.is_some(),
        }
    }

    /// Makes the client go on from here, as far as that can be carried over; `login` is what this node knows the user as.
    /// False when there is no such database.
    pub fn give_to(&self, client: &mut Client, login: Login, databases: usize) -> bool {
        let state = &mut client.state;
        let known = self.db < databases;
        if known {
            state.db = self.db;
        }
        client.reply.resp = self.resp;
        state.reply_mode = self.reply_mode;
        state.authenticated = self.authenticated;
        state.no_evict = self.no_evict;
        state.no_touch = self.no_touch;
        state.login = login;
        state.name.clone_from(&self.name);
        state.library_name.clone_from(&self.library_name);
        state.library_version.clone_from(&self.library_version);
        known
    }

    /// Does the session end with the leadership under which it came about? What was queued, watched, listened
    /// to or tracked is known to that leader alone.
    pub fn is_bound(&self) -> bool {
        self.in_multi || self.watching || self.subscribed || self.monitor || self.tracking
    }

    /// Must even what any node could answer be answered by the leader? Between its messages, in its queue, or not at all.
    pub fn claims_all(&self) -> bool {
        let hears_more = self.subscribed || self.monitor || self.tracking;
        self.in_multi || hears_more || self.reply_mode != ReplyMode::On
    }

    fn encode(&self, into: &mut Vec<u8>) {
        let resp = if self.resp == Resp::V3 { 3 } else { 2 };
        let reply_mode = match self.reply_mode {
            ReplyMode::On => 0,
            ReplyMode::Off => 1,
            ReplyMode::SkipNext => 2,
            ReplyMode::Skip => 3,
        };
        let flags = [
            resp,
            reply_mode,
            u8::from(self.authenticated),
            u8::from(self.no_evict),
            u8::from(self.no_touch),
            u8::from(self.in_multi),
            u8::from(self.watching),
            u8::from(self.subscribed),
            u8::from(self.monitor),
            u8::from(self.tracking),
        ];
        let db = self.db.to_string();
        let fields: [&[u8]; 6] =
            [db.as_bytes(), &flags, &self.user, &self.name, &self.library_name, &self.library_version];
        encode_request(&fields, into);
    }

    fn from_fields(fields: &[&[u8]]) -> Option<Self> {
        let &[db, flags, user, name, library_name, library_version] = fields else { return None };
        let &[
            resp,
            reply_mode,
            authenticated,
            no_evict,
            no_touch,
            in_multi,
            watching,
            subscribed,
            monitor,
            tracking,
        ] = flags
        else {
            return None;
        };
        Some(Self {
            db: std::str::from_utf8(db).ok()?.parse().ok()?,
            resp: match resp {
                2 => Resp::V2,
                3 => Resp::V3,
                _ => return None,
            },
            reply_mode: match reply_mode {
                0 => ReplyMode::On,
                1 => ReplyMode::Off,
                2 => ReplyMode::SkipNext,
                3 => ReplyMode::Skip,
                _ => return None,
            },
            authenticated: authenticated != 0,
            no_evict: no_evict != 0,
            no_touch: no_touch != 0,
            user: user.to_vec(),
            name: name.to_vec(),
            library_name: library_name.to_vec(),
            library_version: library_version.to_vec(),
            in_multi: in_multi != 0,
            watching: watching != 0,
            subscribed: subscribed != 0,
            monitor: monitor != 0,
            tracking: tracking != 0,
        })
    }
}

/// Who comes with a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The client's number at the node that it is connected to.
    pub id: u64,
    pub address: String,
    pub local_address: String,
    pub tls: bool,
    pub state: SessionState,
}

impl Identity {
    /// As [`SUBCOMMAND`]'s last argument.
    pub fn encode(&self) -> Vec<u8> {
        let mut state = Vec::new();
        self.state.encode(&mut state);
        let mut into = Vec::new();
        let id = self.id.to_string();
        let tls = [u8::from(self.tls)];
        let [address, local_address] = [&self.address, &self.local_address].map(String::as_bytes);
        let fields = [FORMAT, id.as_bytes(), address, local_address, &tls, &state];
        encode_request(&fields, &mut into);
        into
    }

    /// What [`Identity::encode`] has made.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        with_fields(bytes, |fields| {
            let &[FORMAT, id, address, local_address, &[tls], state] = fields else { return None };
            Some(Self {
                id: std::str::from_utf8(id).ok()?.parse().ok()?,
                address: String::from_utf8(address.to_vec()).ok()?,
                local_address: String::from_utf8(local_address.to_vec()).ok()?,
                tls: tls != 0,
                state: with_fields(state, SessionState::from_fields)?,
            })
        })
    }
}

fn with_fields<T>(bytes: &[u8], read: impl FnOnce(&[&[u8]]) -> Option<T>) -> Option<T> {
    let mut decoder = RequestDecoder::new();
    match decoder.decode(bytes, &Limits::default()) {
        Ok(Decoded::Request { consumed }) if consumed == bytes.len() => {
            read(&decoder.args(bytes, Vec::new()))
        }
        _ => None,
    }
}

/// Are the two the same? Takes as long whether they are or not, so that nobody can guess one byte by byte.
pub fn is_token(shown: &[u8], token: &[u8; 16]) -> bool {
    shown.len() == token.len() && shown.iter().zip(token).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

/// The leader's end of a session: puts its output in frames.
pub struct Guest {
    /// Requests executed, and the number that the last IDLE said.
    executed: u64,
    reported: u64,
    /// The state that the other end knows.
    told: Option<SessionState>,
    /// Bytes that go before the output of the frame being written, and behind it.
    head: Vec<u8>,
    tail: Vec<u8>,
    /// How much of head and tail has been sent, one after the other.
    control_sent: usize,
    /// Output of the frame that is yet to be sent.
    left: usize,
}

impl Guest {
    /// A session that has just been accepted.
    pub fn new() -> Self {
        Self {
            executed: 0,
            reported: 0,
            told: None,
            head: WELCOME.to_vec(),
            tail: Vec::new(),
            control_sent: 0,
            left: 0,
        }
    }

    /// The end, for a connection whose client is to be disconnected; `None` in the middle of a frame, where there is no
    /// need for it: an answer is outstanding.
    pub fn bye(&self) -> Option<[u8; HEADER_LEN]> {
        let between_frames = self.left == 0 && self.head.is_empty() && self.tail.is_empty();
        between_frames.then_some([BYE, 0, 0, 0, 0])
    }

    fn prepare(&mut self, client: &Client, upto: u64) {
        if self.left > 0 || !self.head.is_empty() || !self.tail.is_empty() {
            return;
        }
        let out = &client.reply.out;
        self.left = usize::try_from(upto - out.start()).unwrap_or(DATA_MAX).min(DATA_MAX);
        if self.left > 0 {
            header(DATA, self.left, &mut self.head);
        }
        let answered = client.state.blocked.is_none() && !client.state.closing() && self.left == out.len();
        if answered && self.executed > self.reported {
            self.report(client);
        }
    }

    fn report(&mut self, client: &Client) {
        let state = SessionState::of(client);
        let mut body = self.executed.to_le_bytes().to_vec();
        if self.told.as_ref() != Some(&state) {
            state.encode(&mut body);
            self.told = Some(state);
        }
        header(IDLE, body.len(), &mut self.tail);
        self.tail.extend_from_slice(&body);
        self.reported = self.executed;
    }

    fn io_slices<'a>(&'a self, out: &'a OutBuf, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let head = &self.head[self.control_sent.min(self.head.len())..];
        if !head.is_empty() {
            slices[used] = IoSlice::new(head);
            used += 1;
        }
        let upto = out.start() + self.left as u64;
        let room = slices.len() - 1;
        used += out.io_slices(upto, &mut slices[used..room]);
        let payload: usize = slices[..used].iter().map(|slice| slice.len()).sum::<usize>() - head.len();
        let tail = &self.tail[self.control_sent.saturating_sub(self.head.len())..];
        if payload == self.left && !tail.is_empty() {
            slices[used] = IoSlice::new(tail);
            used += 1;
        }
        used
    }

    fn sent(&mut self, out: &mut OutBuf, mut count: usize) {
        let head = count.min(self.head.len().saturating_sub(self.control_sent));
        self.control_sent += head;
        count -= head;
        let payload = count.min(self.left);
        out.consume(payload);
        self.left -= payload;
        self.control_sent += count - payload;
        if self.left == 0 && self.control_sent == self.head.len() + self.tail.len() {
            self.head.clear();
            self.tail.clear();
            self.control_sent = 0;
        }
    }
}

fn header(kind: u8, len: usize, into: &mut Vec<u8>) {
    into.push(kind);
    into.extend_from_slice(&u32::try_from(len).expect("frames are bounded").to_le_bytes());
}

/// What frames say.
#[derive(Debug, PartialEq, Eq)]
pub enum Said<'a> {
    Data(&'a [u8]),
    Idle { answered: u64, state: Option<SessionState> },
    Bye,
}

/// What came is no frame.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of kind {kind} and length {len} that no leader sends")]
pub struct BadFrame {
    kind: u8,
    len: usize,
}

/// The follower's end: takes frames apart, however the network cuts them.
#[derive(Default)]
pub struct FrameReader {
    /// A header, or a body that is not passed on as it comes, that is not complete.
    partial: Vec<u8>,
    data_left: usize,
}

impl FrameReader {
    /// The next thing in `input`, which is moved on; `None` when the rest is yet to come.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Said<'a>>, BadFrame> {
        loop {
            if self.data_left > 0 {
                if input.is_empty() {
                    return Ok(None);
                }
                let (data, rest) = input.split_at(self.data_left.min(input.len()));
                *input = rest;
                self.data_left -= data.len();
                return Ok(Some(Said::Data(data)));
            }
            if !self.fill(input, HEADER_LEN) {
                return Ok(None);
            }
            let len =
                u32::from_le_bytes(self.partial[1..HEADER_LEN].try_into().expect("four bytes")) as usize;
            let kind = self.partial[0];
            let bad = BadFrame { kind, len };
            if kind == DATA {
                self.partial.clear();
                self.data_left = len;
                continue;
            }
            if len > CONTROL_MAX {
                return Err(bad);
            }
            if !self.fill(input, HEADER_LEN + len) {
                return Ok(None);
            }
            let partial = std::mem::take(&mut self.partial);
            let body = &partial[HEADER_LEN..];
            return match kind {
                IDLE => idle(body).map(Some).ok_or(bad),
                BYE => Ok(Some(Said::Bye)),
                _ => Err(bad),
            };
        }
    }

    /// Moves bytes to `partial` until it has `len`. False when they are yet to come.
    fn fill(&mut self, input: &mut &[u8], len: usize) -> bool {
        let missing = len.saturating_sub(self.partial.len());
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.partial.extend_from_slice(taken);
        *input = rest;
        self.partial.len() >= len
    }
}

fn idle(body: &[u8]) -> Option<Said<'static>> {
    let (answered, state) = body.split_first_chunk()?;
    let state = if state.is_empty() { None } else { Some(with_fields(state, SessionState::from_fields)?) };
    Some(Said::Idle { answered: u64::from_le_bytes(*answered), state })
}

#[cfg(test)]
mod tests {
    use cairn_engine::{ClientInfo, client::ClientState};
    use cairn_proto::ReplyWriter;

    use super::*;

    fn client() -> Client {
        Client { state: ClientState::new(1, 0, ClientInfo::default(), 0), reply: ReplyWriter::default() }
    }

    /// Writes all that the guest has to say, `step` bytes at a time.
    fn drain(guest: &mut Guest, client: &mut Client, upto: u64, step: usize, wire: &mut Vec<u8>) {
        loop {
            guest.prepare(client, upto);
            let mut slices = [IoSlice::new(&[]); 4];
            let used = guest.io_slices(&client.reply.out, &mut slices);
            if used == 0 {
                return;
            }
            let bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.iter().copied()).collect();
            let count = bytes.len().min(step);
            wire.extend_from_slice(&bytes[..count]);
            guest.sent(&mut client.reply.out, count);
        }
    }

    fn read(mut wire: &[u8], cut: usize) -> (Vec<u8>, Vec<(u64, Option<SessionState>)>) {
        let mut reader = FrameReader::default();
        let (mut data, mut idles) = (Vec::new(), Vec::new());
        while !wire.is_empty() {
            let (mut piece, rest) = wire.split_at(cut.min(wire.len()));
            wire = rest;
            while let Some(said) = reader.next(&mut piece).unwrap() {
                match said {
                    Said::Data(bytes) => data.extend_from_slice(bytes),
                    Said::Idle { answered, state } => idles.push((answered, state)),
                    Said::Bye => panic!("nobody said that"),
                }
            }
        }
        (data, idles)
    }

    #[test]
    fn output_and_state_arrive_however_the_stream_is_cut() {
        for step in [1, 2, 3, 7, 64, 1 << 20] {
            let (mut guest, mut client) = (Guest::new(), client());
            let mut wire = Vec::new();
            for _ in 0..3 {
                guest.executed += 1;
            }
            client.reply.bulk(&vec![b'x'; 2000]);
            let held_from = client.reply.out.end();
            client.reply.out.append(b"held");
            drain(&mut guest, &mut client, held_from, step, &mut wire);
            assert_eq!(client.reply.out.len(), 4, "what may not leave stays");
            client.state.name = b"somebody".to_vec();
            let end = client.reply.out.end();
            drain(&mut guest, &mut client, end, step, &mut wire);
            guest.executed += 1;
            drain(&mut guest, &mut client, end, step, &mut wire);
            drain(&mut guest, &mut client, end, step, &mut wire);

            let frames = wire.strip_prefix(WELCOME).expect("first of all a welcome");
            for cut in [1, 4, 5, 6, 1000, usize::MAX] {
                let (data, idles) = read(frames, cut);
                assert!(data.starts_with(b"$2000\r\nx") && data.ends_with(b"x\r\nheld"));
                assert_eq!(data.len(), 2013);
                assert_eq!(idles, [(3, Some(SessionState::of(&client))), (4, None)], "step {step}");
            }
        }
    }

    #[test]
    fn a_blocked_client_is_not_idle() {
        let (mut guest, mut client) = (Guest::new(), client());
        let mut wire = Vec::new();
        guest.executed += 1;
        client.state.close_after_reply = true;
        drain(&mut guest, &mut client, 0, 100, &mut wire);
        assert_eq!(wire, WELCOME);
        assert_eq!(guest.bye(), Some([BYE, 0, 0, 0, 0]));
    }

    #[test]
    fn an_identity_survives_the_journey() {
        let mut client = client();
        client.state.name = b"n\r\n\0".to_vec();
        client.state.db = 7;
        client.reply.resp = Resp::V3;
        let state = SessionState { reply_mode: ReplyMode::Off, in_multi: true, ..SessionState::of(&client) };
        let identity = Identity {
            id: 1 << 50,
            address: "1.2.3.4:5".into(),
            local_address: "6.7.8.9:1".into(),
            tls: true,
            state,
        };
        let bytes = identity.encode();
        assert_eq!(Identity::decode(&bytes), Some(identity));
        for len in 0..bytes.len() {
            assert_eq!(Identity::decode(&bytes[..len]), None);
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let mut reader = FrameReader::default();
        assert_eq!(reader.next(&mut &[9u8, 1, 0, 0, 0, 7][..]), Err(BadFrame { kind: 9, len: 1 }));
        let mut reader = FrameReader::default();
        assert_eq!(
            reader.next(&mut &[IDLE, 255, 255, 255, 255][..]),
            Err(BadFrame { kind: IDLE, len: u32::MAX as usize })
        );
    }

    #[test]
    fn a_token_is_all_or_nothing() {
        let token = [7; 16];
        assert!(is_token(&[7; 16], &token));
        assert!(!is_token(&[7; 15], &token));
        assert!(!is_token(&[7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8], &token));
        assert!(!is_token(&[], &token));
    }
}
