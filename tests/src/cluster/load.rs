//! The clients of a test: they write and read registers, pairs, counters, lists, sets, streams, queues and fields that expire, and
//! record what they saw.
//!
//! Several clients share each object, and an object is left after [`OPS_PER_OBJECT`] operations, so that there is something
//! to disagree about and histories stay short enough to be judged. What is written is a new number each time.

mod programs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cairn_engine::rng::Rng;

use super::client::{Answer, Client, Doubt};
use super::group::Directory;
use super::history::{Action, Element, History, Kind, Moment, NEVER, Op, Rank};
use crate::golden::Reply;

/// Clients that work at the same time in most scenarios.
pub const CLIENTS: usize = 16;
/// Objects of a kind that are in use at the same time.
const LANES: u64 = 2;
/// Operations on an object before the next one takes its place.
const OPS_PER_OBJECT: u64 = 120;
/// What a client waits for a reply before it goes elsewhere. Longer than a node takes to tell its clients that the leader
/// which had their commands is gone.
const REPLY_LIMIT: Duration = Duration::from_secs(3);
/// How long a BLPOP waits.
const BLOCK_SECONDS: &[u8] = b"0.1";
/// For the last read of each object, when everything is whole again.
const LAST_READ_LIMIT: Duration = Duration::from_secs(20);

/// Makes a transaction fail when it is executed.
const NO_COMMAND: &[&[u8]] = &[b"NOSUCHCOMMAND"];

/// One object: a key, or the two of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    pub kind: Kind,
    pub lane: u64,
    pub generation: u64,
}

impl Object {
    /// Its key; of a pair the first part of both.
    pub fn key(&self, prefix: &str) -> String {
        format!("{prefix}:{}{}:{}", self.kind.letter(), self.lane, self.generation)
    }
}

/// What all clients of a load have in common.
struct Shared {
    directory: Directory,
    prefix: String,
    kinds: &'static [Kind],
    started: Instant,
    stop: AtomicBool,
    next_element: AtomicU64,
    /// Operations begun in each lane of each kind.
    ops: Vec<AtomicU64>,
    /// When the write was called that was called last among the acknowledged ones.
    newest_write: AtomicU64,
    acknowledged: AtomicU64,
}

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Record>>,
}

/// What they saw.
#[derive(Default)]
pub struct Record {
    pub objects: BTreeMap<Object, History>,
    /// Call and return of each acknowledged write.
    pub writes: Vec<(Moment, Moment)>,
    /// Commands whose outcome is unknown, by reason.
    pub doubts: BTreeMap<Doubt, usize>,
    /// BLPOPs that a leader has let go with `-UNBLOCKED` because it led no longer.
    pub unblocked: usize,
    /// Commands that a server refused, by the error.
    pub refusals: BTreeMap<String, usize>,
    /// Replies that no server should give.
    pub surprises: Vec<String>,
}

/// How a load is made.
pub struct Clients<'a> {
    pub count: usize,
    pub seed: u64,
    /// The beginning of all keys; a new one for each load.
    pub prefix: &'a str,
    /// The first so many clients stay with this node whatever happens.
    pub faithful: Option<(usize, usize)>,
    /// What they work with.
    pub kinds: &'static [Kind],
}

impl Load {
    /// Sets the clients to work, spread over the nodes.
    pub fn start(directory: Directory, clients: &Clients) -> Load {
        let shared = Shared::new(directory, clients.prefix, clients.kinds);
        let nodes = shared.directory.len();
        let spawn = |number: usize| {
            let shared = shared.clone();
            let seed = clients.seed.wrapping_mul(1000).wrapping_add(number as u64);
            let mut worker = Worker::new(shared, number as u32, Rng::new(seed), number % nodes);
            if let Some((node, count)) = clients.faithful
                && number < count
            {
                let directory = worker.shared.directory.clone();
                worker.client = Client::new(directory, node, REPLY_LIMIT).faithful();
            }
            std::thread::spawn(move || worker.work())
        };
        let clients = (0..clients.count).map(spawn).collect();
        Load { shared, clients }
    }

    /// The present moment in the record's time.
    pub fn now(&self) -> Moment {
        self.shared.now()
    }

    /// Has a write been acknowledged that was called after this moment?
    pub fn has_written_since(&self, moment: Moment) -> bool {
        self.shared.newest_write.load(Relaxed) > moment
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Relaxed)
    }

    /// Stops the clients and reads every object once more. Everything must be whole again.
    pub fn finish(mut self) -> anyhow::Result<Record> {
        let mut record = self.stop();
        let mut last = Worker::new(self.shared.clone(), u32::MAX, Rng::new(0), 0);
        let objects: Vec<Object> = record.objects.keys().copied().collect();
        for object in objects {
            last.read_at_last(object)?;
        }
        record.add(last.record);
        Ok(record)
    }

    fn stop(&mut self) -> Record {
        self.shared.stop.store(true, Relaxed);
        let mut record = Record::default();
        for client in self.clients.drain(..) {
            record.add(client.join().expect("a client does not panic"));
        }
        record
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // When a test fails half-way the clients must not go on. One that panicked does not hide the failure.
        self.shared.stop.store(true, Relaxed);
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}

impl Shared {
    fn new(directory: Directory, prefix: &str, kinds: &'static [Kind]) -> Arc<Shared> {
        let lanes = Kind::ALL.len() as u64 * LANES;
        Arc::new(Shared {
            directory,
            prefix: prefix.to_owned(),
            kinds,
            started: Instant::now(),
            stop: AtomicBool::new(false),
            next_element: AtomicU64::new(1),
            ops: (0..lanes).map(|_| AtomicU64::new(0)).collect(),
            newest_write: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
        })
    }

    fn now(&self) -> Moment {
        self.started.elapsed().as_nanos() as Moment
    }
}

impl Record {
    fn add(&mut self, other: Record) {
        for (object, history) in other.objects {
            self.objects.entry(object).or_default().ops.extend(history.ops);
        }
        self.writes.extend(other.writes);
        for (doubt, count) in other.doubts {
            *self.doubts.entry(doubt).or_default() += count;
        }
        self.unblocked += other.unblocked;
        for (refusal, count) in other.refusals {
            *self.refusals.entry(refusal).or_default() += count;
        }
        self.surprises.extend(other.surprises);
    }

    /// Time from a moment to the return of the first write that was called after it.
    pub fn first_write_after(&self, moment: Moment) -> Option<Duration> {
        let later = self.writes.iter().filter(|(call, _)| *call >= moment);
        later.map(|(_, ret)| Duration::from_nanos(ret - moment)).min()
    }

    /// The longest time in which no write was acknowledged, of those that returned from `from` to `to`.
    pub fn longest_gap(&self, from: Moment, to: Moment) -> Duration {
        let mut returns: Vec<Moment> =
            self.writes.iter().map(|(_, ret)| *ret).filter(|ret| (from..=to).contains(ret)).collect();
        returns.extend([from, to]);
        returns.sort_unstable();
        let longest = returns.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        Duration::from_nanos(longest)
    }
}

/// Reads an object as it is now.
pub fn read_object(
    directory: Directory,
    node: usize,
    prefix: &str,
    object: Object,
) -> anyhow::Result<Action> {
    let mut worker = Worker::new(Shared::new(directory, prefix, &[]), u32::MAX, Rng::new(0), node);
    worker.read_at_last(object)
}

/// One client of a load.
struct Worker {
    shared: Arc<Shared>,
    number: u32,
    rng: Rng,
    client: Client,
    /// The value of each register that this client has seen last, for its comparisons.
    seen: BTreeMap<u64, (Object, Option<Element>)>,
    /// The library has been loaded: from then on it is there.
    loaded: bool,
    record: Record,
}

/// What came of a MULTI.
enum Transaction {
    Done(Vec<Reply>),
    /// Nothing of it was done.
    Not,
    Unknown,
    Unsent,
}

impl Worker {
    fn new(shared: Arc<Shared>, number: u32, rng: Rng, node: usize) -> Worker {
        let client = Client::new(shared.directory.clone(), node, REPLY_LIMIT);
        Worker {
            shared,
            number,
            rng,
            client,
            seen: BTreeMap::new(),
            loaded: false,
            record: Record::default(),
        }
    }

    fn work(mut self) -> Record {
        while !self.shared.stop.load(Relaxed) {
            let kinds = self.shared.kinds;
            let kind = kinds[self.rng.below(kinds.len() as u64) as usize];
            let lane = self.rng.below(LANES);
            let ops = &self.shared.ops[(kind as u64 * LANES + lane) as usize];
            let generation = ops.fetch_add(1, Relaxed) / OPS_PER_OBJECT;
            let object = Object { kind, lane, generation };
            match kind {
                Kind::Register => self.register(object),
                Kind::Queue if self.rng.below(2) == 0 => self.pop(object),
                Kind::Queue => self.push(object),
                _ if self.rng.below(5) < 2 => drop(self.read(object)),
                Kind::Pair => self.write_pair(object),
                Kind::Counter => self.increment(object),
                Kind::List => self.push(object),
                Kind::Set => self.add_member(object),
                Kind::Stream => self.add_entry(object),
                Kind::Fields => self.add_field(object),
            }
        }
        self.record
    }

    fn register(&mut self, object: Object) {
        match self.rng.below(10) {
            0..3 => self.set(object),
            3..6 => drop(self.read(object)),
            6..8 => self.swap_by_program(object),
            8 => self.swap_by_watch(object),
            _ => self.fail_in_multi(object),
        }
    }

    fn set(&mut self, object: Object) {
        let (key, value) = (self.key(object), self.element());
        let call = self.shared.now();
        let answer = self.client.call(&[b"SET", key.as_bytes(), text(value).as_bytes()]);
        match self.expect(answer, |reply| is_ok(reply).then_some(())) {
            Answer::Reply(()) => self.done(object, call, Action::Write(value)),
            Answer::Refused(_) => self.refused(object, call, value),
            Answer::Unknown(_) => self.unknown(object, call, Action::Write(value)),
            Answer::Unsent => {}
        }
    }

    fn swap_by_watch(&mut self, object: Object) {
        let key = self.key(object);
        let watched = self.client.call(&[b"WATCH", key.as_bytes()]);
        if !matches!(self.expect(watched, |reply| is_ok(reply).then_some(())), Answer::Reply(())) {
            return;
        }
        // On another connection there would be no watch.
        let Some(from) = self.read(object).filter(|_| self.client.is_connected()) else { return };
        let Action::Read(from) = from else { return };
        let to = self.element();
        let call = self.shared.now();
        match self.transact(&[&[b"SET", key.as_bytes(), text(to).as_bytes()]]) {
            Transaction::Done(_) => self.done(object, call, Action::Swap { from, to }),
            Transaction::Not => self.refused(object, call, to),
            Transaction::Unknown => self.unknown(object, call, Action::Swap { from, to }),
            Transaction::Unsent => {}
        }
    }

    /// A MULTI that cannot be executed: nothing of it may ever be seen.
    fn fail_in_multi(&mut self, object: Object) {
        let (key, value) = (self.key(object), self.element());
        let call = self.shared.now();
        match self.transact(&[&[b"SET", key.as_bytes(), text(value).as_bytes()], NO_COMMAND]) {
            Transaction::Done(_) => {
                self.surprise("EXEC", "a MULTI with a command that does not exist was executed")
            }
            Transaction::Not | Transaction::Unknown => self.refused(object, call, value),
            Transaction::Unsent => {}
        }
    }

    fn write_pair(&mut self, object: Object) {
        let (key, value) = (self.key(object), text(self.element()));
        let (a, b) = (format!("{key}:a"), format!("{key}:b"));
        let element = value.parse().expect("it was made from a number");
        let call = self.shared.now();
        let both: [&[&[u8]]; 2] =
            [&[b"SET", a.as_bytes(), value.as_bytes()], &[b"SET", b.as_bytes(), value.as_bytes()]];
        match self.transact(&both) {
            Transaction::Done(_) => self.done(object, call, Action::Write(element)),
            Transaction::Not => self.refused(object, call, element),
            Transaction::Unknown => self.unknown(object, call, Action::Write(element)),
            Transaction::Unsent => {}
        }
    }

    fn increment(&mut self, object: Object) {
        let key = self.key(object);
        let call = self.shared.now();
        let answer = self.client.call(&[b"INCR", key.as_bytes()]);
        match self.expect(answer, integer) {
            Answer::Reply(n) => self.done(object, call, Action::Increment(Some(n))),
            Answer::Refused(_) | Answer::Unsent => {}
            Answer::Unknown(_) => self.unknown(object, call, Action::Increment(None)),
        }
    }

    fn push(&mut self, object: Object) {
        let (key, element) = (self.key(object), self.element());
        let call = self.shared.now();
        let answer = self.client.call(&[b"RPUSH", key.as_bytes(), text(element).as_bytes()]);
        match self.expect(answer, integer) {
            Answer::Reply(n) => self.done(object, call, Action::Append(element, Some(Rank::from(n)))),
            Answer::Refused(_) => self.refused(object, call, element),
            Answer::Unknown(_) => self.unknown(object, call, Action::Append(element, None)),
            Answer::Unsent => {}
        }
    }

    fn pop(&mut self, object: Object) {
        let key = self.key(object);
        let call = self.shared.now();
        let blocks = self.rng.below(2) == 1;
        let answer = match blocks {
            false => self.client.call(&[b"LPOP", key.as_bytes()]),
            true => self.client.call(&[b"BLPOP", key.as_bytes(), BLOCK_SECONDS]),
        };
        if blocks && answer == Answer::Unknown(Doubt::Told) {
            self.record.unblocked += 1;
            return self.unknown(object, call, Action::Pop(None));
        }
        let element = |reply: &Reply| match reply {
            Reply::Nil | Reply::NilArray => Some(None),
            Reply::Array(items) => number(items.get(1)?).map(Some),
            other => number(other).map(Some),
        };
        match self.expect(answer, element) {
            Answer::Reply(found) => self.done(object, call, Action::Pop(found)),
            Answer::Unknown(_) => self.unknown(object, call, Action::Pop(None)),
            Answer::Refused(_) | Answer::Unsent => {}
        }
    }

    fn add_member(&mut self, object: Object) {
        let (key, element) = (self.key(object), self.element());
        let call = self.shared.now();
        let answer = self.client.call(&[b"SADD", key.as_bytes(), text(element).as_bytes()]);
        match self.expect(answer, integer) {
            Answer::Reply(n) => self.done(object, call, Action::Add(element, Some(n == 1))),
            Answer::Refused(_) => self.refused(object, call, element),
            Answer::Unknown(_) => self.unknown(object, call, Action::Add(element, None)),
            Answer::Unsent => {}
        }
    }

    fn add_entry(&mut self, object: Object) {
        let (key, element) = (self.key(object), self.element());
        let call = self.shared.now();
        let answer = self.client.call(&[b"XADD", key.as_bytes(), b"*", b"v", text(element).as_bytes()]);
        match self.expect(answer, entry_id) {
            Answer::Reply(id) => self.done(object, call, Action::Append(element, Some(id))),
            Answer::Refused(_) => self.refused(object, call, element),
            Answer::Unknown(_) => self.unknown(object, call, Action::Append(element, None)),
            Answer::Unsent => {}
        }
    }

    /// For an hour, or for less than it takes until the object is read at last.
    fn add_field(&mut self, object: Object) {
        let (key, element) = (self.key(object), self.element());
        let ms = [30, 300, 3_600_000][self.rng.below(3) as usize];
        let (field, time) = (text(element), ms.to_string());
        let call = self.shared.now();
        let command: &[&[u8]] =
            &[b"HSETEX", key.as_bytes(), b"PX", time.as_bytes(), b"FIELDS", b"1", field.as_bytes(), b"v"];
        let answer = self.client.call(command);
        let lease = Action::Lease(element, ms * 1_000_000);
        match self.expect(answer, |reply| (integer(reply)? == 1).then_some(())) {
            Answer::Reply(()) => self.done(object, call, lease),
            Answer::Refused(_) => self.refused(object, call, element),
            Answer::Unknown(_) => self.unknown(object, call, lease),
            Answer::Unsent => {}
        }
    }

    /// Reads the whole object; what was seen, if there was an answer.
    fn read(&mut self, object: Object) -> Option<Action> {
        let key = self.key(object);
        let key = key.as_bytes();
        let call = self.shared.now();
        let seen = match object.kind {
            Kind::Pair => self.read_pair(&String::from_utf8_lossy(key))?,
            kind => {
                let answer = match kind {
                    Kind::List | Kind::Queue => self.client.call(&[b"LRANGE", key, b"0", b"-1"]),
                    Kind::Set => self.client.call(&[b"SMEMBERS", key]),
                    Kind::Stream => self.client.call(&[b"XRANGE", key, b"-", b"+"]),
                    Kind::Fields => self.client.call(&[b"HKEYS", key]),
                    _ => self.client.call(&[b"GET", key]),
                };
                match self.expect(answer, |reply| whole(kind, reply)) {
                    Answer::Reply(seen) => seen,
                    _ => return None,
                }
            }
        };
        self.done(object, call, seen.clone());
        Some(seen)
    }

    /// By one command, or by two in a transaction: neither may see half of what another transaction did.
    fn read_pair(&mut self, key: &str) -> Option<Action> {
        let (a, b) = (format!("{key}:a"), format!("{key}:b"));
        let (a, b) = (a.as_bytes(), b.as_bytes());
        let values = match self.rng.below(2) {
            0 => {
                let answer = self.client.call(&[b"MGET", a, b]);
                let values = |reply: &Reply| match reply {
                    Reply::Array(values) => Some(values.clone()),
                    _ => None,
                };
                match self.expect(answer, values) {
                    Answer::Reply(values) => values,
                    _ => return None,
                }
            }
            _ => match self.transact(&[&[b"GET", a], &[b"GET", b]]) {
                Transaction::Done(values) => values,
                _ => return None,
            },
        };
        let [a, b] = values.as_slice() else {
            self.surprise("a pair", &format!("{} values", values.len()));
            return None;
        };
        match (number_or_nil(a), number_or_nil(b)) {
            (Some(a), Some(b)) if a == b => Some(Action::Read(a)),
            (Some(a), Some(b)) => Some(Action::Halves(a, b)),
            _ => {
                self.surprise("a pair", &format!("{a}, {b}"));
                None
            }
        }
    }

    /// MULTI, commands and EXEC in one piece, as client libraries send them.
    fn transact(&mut self, commands: &[&[&[u8]]]) -> Transaction {
        let mut all: Vec<&[&[u8]]> = vec![&[b"MULTI"]];
        all.extend_from_slice(commands);
        all.push(&[b"EXEC"]);
        let mut replies = match self.client.call_all(&all) {
            Answer::Reply(replies) => replies,
            Answer::Unknown(doubt) => {
                *self.record.doubts.entry(doubt).or_default() += 1;
                return Transaction::Unknown;
            }
            Answer::Refused(_) | Answer::Unsent => return Transaction::Unsent,
        };
        let exec = replies.pop().expect("a reply for each command");
        let begun = is_ok(&replies[0]);
        if !begun && replies[1..].iter().any(|reply| !matches!(reply, Reply::Error(_))) {
            let shown: Vec<String> = replies.iter().map(Reply::to_string).collect();
            self.surprise("MULTI", &format!("refused, and what followed was not: {}", shown.join(" ")));
            return Transaction::Unknown;
        }
        match exec {
            Reply::Array(results) if begun && results.len() == commands.len() => Transaction::Done(results),
            Reply::Nil | Reply::NilArray => Transaction::Not,
            Reply::Error(text) if !begun => {
                self.refusal(&String::from_utf8_lossy(&text));
                self.client.disconnect();
                Transaction::Not
            }
            // Not this server's refusal: the commands are at fault, on any node.
            Reply::Error(text) if text.starts_with(b"EXECABORT") && commands.contains(&NO_COMMAND) => {
                Transaction::Not
            }
            Reply::Error(text) => match self.client.judge(Reply::Error(text)) {
                Answer::Refused(why) => {
                    self.refusal(&why);
                    Transaction::Not
                }
                Answer::Unknown(doubt) => {
                    *self.record.doubts.entry(doubt).or_default() += 1;
                    Transaction::Unknown
                }
                other => {
                    self.surprise("EXEC", &format!("{other:?}"));
                    Transaction::Unknown
                }
            },
            other => {
                self.surprise("EXEC", &other.to_string());
                Transaction::Unknown
            }
        }
    }

    fn read_at_last(&mut self, object: Object) -> anyhow::Result<Action> {
        let started = Instant::now();
        loop {
            if let Some(seen) = self.read(object) {
                return Ok(seen);
            }
            anyhow::ensure!(
                started.elapsed() < LAST_READ_LIMIT,
                "{} cannot be read within {LAST_READ_LIMIT:?}: {:?} {:?} {:?}",
                self.key(object),
                self.record.doubts,
                self.record.refusals,
                self.record.surprises
            );
        }
    }

    /// Keeps count of what is no reply, and of replies that are not what `parse` understands.
    fn expect<T>(&mut self, answer: Answer, parse: impl Fn(&Reply) -> Option<T>) -> Answer<T> {
        match answer {
            Answer::Reply(reply) => match parse(&reply) {
                Some(result) => Answer::Reply(result),
                None => {
                    self.surprise("a reply", &reply.to_string());
                    Answer::Unknown(Doubt::Told)
                }
            },
            Answer::Refused(why) => {
                self.refusal(&why);
                Answer::Refused(why)
            }
            Answer::Unknown(doubt) => {
                *self.record.doubts.entry(doubt).or_default() += 1;
                Answer::Unknown(doubt)
            }
            Answer::Unsent => Answer::Unsent,
        }
    }

    fn done(&mut self, object: Object, call: Moment, action: Action) {
        let ret = self.shared.now();
        let value = match action {
            Action::Write(value) | Action::Swap { to: value, .. } => Some(Some(value)),
            Action::Read(value) => Some(value),
            _ => None,
        };
        if let Some(value) = value.filter(|_| object.kind == Kind::Register) {
            self.seen.insert(object.lane, (object, value));
        }
        if (Op { client: 0, call, ret, action: action.clone() }).is_write() {
            self.record.writes.push((call, ret));
            self.shared.newest_write.fetch_max(call, Relaxed);
            self.shared.acknowledged.fetch_add(1, Relaxed);
        }
        self.record_op(object, call, ret, action);
    }

    fn unknown(&mut self, object: Object, call: Moment, action: Action) {
        self.record_op(object, call, NEVER, action);
    }

    fn refused(&mut self, object: Object, call: Moment, value: Element) {
        self.record_op(object, call, self.shared.now(), Action::Refused(value));
    }

    fn record_op(&mut self, object: Object, call: Moment, ret: Moment, action: Action) {
        let op = Op { client: self.number, call, ret, action };
        self.record.objects.entry(object).or_default().ops.push(op);
    }

    fn refusal(&mut self, text: &str) {
        // MOVED says where to; what counts is that it was said.
        let short =
            text.split_once(' ').map_or(text, |(word, rest)| if word == "MOVED" { word } else { rest });
        let kind = text.split(' ').next().unwrap_or_default();
        let name = if kind == short { kind.to_owned() } else { format!("{kind} {short}") };
        *self.record.refusals.entry(name).or_default() += 1;
    }

    fn surprise(&mut self, what: &str, text: &str) {
        self.record.surprises.push(format!("client {}: {what}: {text}", self.number));
    }

    fn key(&self, object: Object) -> String {
        object.key(&self.shared.prefix)
    }

    fn element(&self) -> Element {
        self.shared.next_element.fetch_add(1, Relaxed)
    }
}

fn text(element: Element) -> String {
    element.to_string()
}

pub(crate) fn is_ok(reply: &Reply) -> bool {
    *reply == Reply::Simple(b"OK".to_vec())
}

pub(crate) fn integer(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Integer(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

fn number(reply: &Reply) -> Option<Element> {
    match reply {
        Reply::Bulk(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}

pub(crate) fn number_or_nil(reply: &Reply) -> Option<Option<Element>> {
    match reply {
        Reply::Nil => Some(None),
        other => number(other).map(Some),
    }
}

fn number_or_empty(reply: &Reply) -> Option<Option<Element>> {
    match reply {
        Reply::Bulk(digits) if digits.is_empty() => Some(None),
        other => number(other).map(Some),
    }
}

fn entry_id(reply: &Reply) -> Option<Rank> {
    let Reply::Bulk(id) = reply else { return None };
    let (ms, seq) = std::str::from_utf8(id).ok()?.split_once('-')?;
    Some(Rank::from(ms.parse::<u64>().ok()?) << 64 | Rank::from(seq.parse::<u64>().ok()?))
}

/// What a read of the whole object shows.
pub(crate) fn whole(kind: Kind, reply: &Reply) -> Option<Action> {
    let items = || match reply {
        Reply::Array(items) => Some(items),
        _ => None,
    };
    match kind {
        Kind::Register | Kind::Pair => number_or_nil(reply).map(Action::Read),
        Kind::Counter => number_or_nil(reply).map(|count| Action::Count(count.unwrap_or(0))),
        Kind::Set | Kind::Fields => items()?.iter().map(number).collect::<Option<_>>().map(Action::Members),
        Kind::List | Kind::Queue => {
            let elements: Vec<Element> = items()?.iter().map(number).collect::<Option<_>>()?;
            let ranked = elements.into_iter().zip(1..).collect();
            Some(Action::All(ranked))
        }
        Kind::Stream => {
            let entry = |entry: &Reply| match entry {
                Reply::Array(parts) => match parts.as_slice() {
                    [id, Reply::Array(fields)] => Some((number(fields.get(1)?)?, entry_id(id)?)),
                    _ => None,
                },
                _ => None,
            };
            items()?.iter().map(entry).collect::<Option<_>>().map(Action::All)
        }
    }
}
