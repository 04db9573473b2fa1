//! What works with the nodes and records what it saw; and the last look when everything is whole again.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{bail, ensure};
use cairn_engine::rng::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use turmoil::net::TcpStream;

use super::node::PORT;
use super::trace;
use crate::cluster::check;
use crate::cluster::client::{Verdict, verdict};
use crate::cluster::history::{Action, Element, History, Kind, Moment, NEVER, Op, Rank};
use crate::cluster::load::{Object, integer, is_ok, number_or_nil, whole};
use crate::golden::Reply;

/// The host that all clients are on.
pub const HOST: &str = "clients";
/// Kinds of objects that are worked with.
const KINDS: [Kind; 5] = [Kind::Register, Kind::Pair, Kind::Counter, Kind::List, Kind::Set];
/// Operations on an object before the next one takes its place.
const OPS_PER_OBJECT: u64 = 60;
/// A connection that is not made within this time is given up.
const CONNECT_LIMIT: Duration = Duration::from_millis(150);
/// What a client waits for a reply before it goes elsewhere.
const REPLY_LIMIT: Duration = Duration::from_millis(600);
/// Between two attempts when a node has refused.
const BACK_OFF: Duration = Duration::from_millis(10);
/// A client pauses up to so long between two operations.
const PAUSE_US_MAX: u64 = 24_000;
/// How long the group may take until everything can be read and all nodes are alike.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);

/// What the clients and those who disturb them share.
pub struct World {
    pub names: Vec<String>,
    pub count: usize,
    seed: u64,
    /// The clients are to come to an end.
    pub stop: Cell<bool>,
    /// Everything is whole again, as far as machines and network go.
    pub healed: Cell<bool>,
    /// Commands of an administrator, and to which node.
    pub orders: RefCell<VecDeque<(usize, Vec<String>)>>,
    pub acknowledged: Cell<u64>,
    pub unknown: Cell<u64>,
    pub ops: Cell<u64>,
    next_element: Cell<Element>,
    lanes: [Cell<u64>; KINDS.len()],
    histories: RefCell<BTreeMap<Object, History>>,
    /// Replies that no server should give.
    surprises: RefCell<Vec<String>>,
}

/// What a client learns of what it sent.
enum Answer {
    Replies(Vec<Reply>),
    /// Nothing was done.
    Not,
    /// It may be done or not, now or later.
    Unknown,
}

impl World {
    pub fn new(names: Vec<String>, count: usize, seed: u64) -> Rc<World> {
        Rc::new(World {
            names,
            count,
            seed,
            stop: Cell::new(false),
            healed: Cell::new(false),
            orders: RefCell::default(),
            acknowledged: Cell::new(0),
            unknown: Cell::new(0),
            ops: Cell::new(0),
            next_element: Cell::new(1),
            lanes: Default::default(),
            histories: RefCell::default(),
            surprises: RefCell::default(),
        })
    }

    fn record(&self, object: Object, op: Op) {
        trace::line(|| format!("{} {op}", object.key("sim")));
        add(&self.ops, 1);
        if !op.is_known() {
            add(&self.unknown, 1);
        } else if op.is_write() {
            add(&self.acknowledged, 1);
        }
        self.histories.borrow_mut().entry(object).or_default().ops.push(op);
    }

    fn surprise(&self, text: String) {
        trace::line(|| format!("SURPRISE {text}"));
        self.surprises.borrow_mut().push(text);
    }
}

fn add(count: &Cell<u64>, n: u64) -> u64 {
    count.replace(count.get() + n)
}

fn now() -> Moment {
    turmoil::sim_elapsed().expect("clients are in a simulation").as_nanos() as Moment
}

/// The clients' machine: clients, until they are told to stop; then the verdict.
pub async fn software(world: Rc<World>) -> turmoil::Result {
    let clients: Vec<_> = (0..world.count)
        .map(|number| tokio::task::spawn_local(Client::new(&world, number as u32).work()))
        .collect();
    let administrator = tokio::task::spawn_local(administrate(Rc::clone(&world)));
    for client in clients {
        client.await?;
    }
    administrator.await?;
    while !world.healed.get() {
        sleep(BACK_OFF).await;
    }
    judge(&world).await.map_err(|error| format!("{error:#}").into())
}

/// Reads every object once more; every history must be possible, and all nodes must hold the same.
async fn judge(world: &Rc<World>) -> anyhow::Result<()> {
    trace::line(|| "everything is whole again".to_owned());
    let started = now();
    let late = || now() - started > SETTLE_LIMIT.as_nanos() as Moment;
    let objects: Vec<Object> = world.histories.borrow().keys().copied().collect();
    let mut reader = Client::new(world, u32::MAX);
    for object in objects {
        while !reader.read(object).await {
            ensure!(
                !late(),
                "{} cannot be read, though everything has been whole for long",
                object.key("sim")
            );
        }
    }
    loop {
        let mut digests = Vec::new();
        for node in 0..world.names.len() {
            digests.push(digest(world, node).await);
        }
        if digests.iter().all(|digest| digest.is_some() && *digest == digests[0]) {
            trace::line(|| format!("all nodes have the digest {:?}", digests[0]));
            break;
        }
        ensure!(!late(), "the nodes do not become alike: {digests:?}");
        sleep(BACK_OFF * 5).await;
    }
    for (object, history) in &*world.histories.borrow() {
        if let Err(fault) = check::check(object.kind, history) {
            let key = object.key("sim");
            bail!("{:?} {key}: {fault}\n{}", object.kind, history.excerpt(fault.at()));
        }
    }
    let surprises = world.surprises.borrow();
    ensure!(surprises.is_empty(), "replies that no server should give: {}", surprises.join("; "));
    Ok(())
}

async fn digest(world: &Rc<World>, node: usize) -> Option<String> {
    let mut connection = Connection::open(world, node).await.ok()?;
    match connection.call_all(&[&[b"DEBUG", b"DIGEST-STATE"]]).await.ok()?.pop()? {
        Reply::Simple(digest) => Some(String::from_utf8_lossy(&digest).into_owned()),
        other => {
            trace::line(|| format!("{}: DEBUG DIGEST-STATE answers {other}", world.names[node]));
            None
        }
    }
}

/// Sends what the administrator orders, and does not mind the answers.
async fn administrate(world: Rc<World>) {
    while !world.stop.get() {
        let Some((node, words)) = world.orders.borrow_mut().pop_front() else {
            sleep(BACK_OFF).await;
            continue;
        };
        let command: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let answer = match Connection::open(&world, node).await {
            Ok(mut connection) => connection.call_all(&[&command]).await,
            Err(error) => Err(error),
        };
        let answer = match answer {
            Ok(replies) => replies.iter().map(Reply::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        trace::line(|| format!("{} to {}: {answer}", words.join(" "), world.names[node]));
    }
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    async fn open(world: &World, node: usize) -> io::Result<Connection> {
        let stream = timeout(CONNECT_LIMIT, TcpStream::connect((world.names[node].as_str(), PORT))).await??;
        Ok(Connection { stream, received: Vec::new() })
    }

    /// Sends commands in one piece and waits for all replies.
    async fn call_all(&mut self, commands: &[&[&[u8]]]) -> io::Result<Vec<Reply>> {
        let mut request = Vec::new();
        for command in commands {
            request.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
            for word in *command {
                request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                request.extend_from_slice(word);
                request.extend_from_slice(b"\r\n");
            }
        }
        timeout(REPLY_LIMIT, async {
            self.stream.write_all(&request).await?;
            let mut replies = Vec::new();
            while replies.len() < commands.len() {
                replies.push(self.receive().await?);
            }
            Ok(replies)
        })
        .await?
    }

    async fn receive(&mut self) -> io::Result<Reply> {
        loop {
            if let Some((reply, used)) = Reply::decode(&self.received).map_err(io::Error::other)? {
                self.received.drain(..used);
                return Ok(reply.with_resp2_nulls());
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// One client with one connection at a time.
struct Client {
    world: Rc<World>,
    number: u32,
    rng: Rng,
    node: usize,
    connection: Option<Connection>,
}

impl Client {
    fn new(world: &Rc<World>, number: u32) -> Client {
        let rng = Rng::new(world.seed.wrapping_mul(1009).wrapping_add(u64::from(number)));
        let node = number as usize % world.names.len();
        Client { world: Rc::clone(world), number, rng, node, connection: None }
    }

    async fn work(mut self) {
        while !self.world.stop.get() {
            let lane = self.rng.below(KINDS.len() as u64) as usize;
            let generation = add(&self.world.lanes[lane], 1) / OPS_PER_OBJECT;
            let object = Object { kind: KINDS[lane], lane: 0, generation };
            if self.rng.below(5) < 2 {
                self.read(object).await;
            } else {
                self.write(object).await;
            }
            sleep(Duration::from_micros(self.rng.below(PAUSE_US_MAX))).await;
        }
    }

    async fn write(&mut self, object: Object) {
        let world = Rc::clone(&self.world);
        let (key, element) = (object.key("sim"), add(&world.next_element, 1));
        let (key, value) = (key.as_bytes(), element.to_string());
        let value = value.as_bytes();
        let call = now();
        let answer = match object.kind {
            Kind::Register => self.call_all(&[&[b"SET", key, value]]).await,
            Kind::Counter => self.call_all(&[&[b"INCR", key]]).await,
            Kind::List => self.call_all(&[&[b"RPUSH", key, value]]).await,
            Kind::Set => self.call_all(&[&[b"SADD", key, value]]).await,
            Kind::Pair => {
                let (a, b) = ([key, b":a"].concat(), [key, b":b"].concat());
                self.call_all(&[&[b"MULTI"], &[b"SET", &a, value], &[b"SET", &b, value], &[b"EXEC"]]).await
            }
            Kind::Stream | Kind::Queue | Kind::Fields => {
                unreachable!("not among the kinds that are worked with")
            }
        };
        let (ret, action) = match answer {
            Answer::Replies(replies) => {
                let reply = replies.last().expect("a reply for each command");
                let action = match object.kind {
                    Kind::Register => is_ok(reply).then_some(Action::Write(element)),
                    Kind::Pair => is_array_of_ok(reply).then_some(Action::Write(element)),
                    Kind::Counter => integer(reply).map(|count| Action::Increment(Some(count))),
                    Kind::List => integer(reply).map(|len| Action::Append(element, Some(Rank::from(len)))),
                    _ => integer(reply).map(|new| Action::Add(element, Some(new == 1))),
                };
                let Some(action) = action else {
                    return world.surprise(format!("a write of {} was answered {reply}", object.key("sim")));
                };
                (now(), action)
            }
            // A refused increment leaves nothing behind that could be recognised.
            Answer::Not if object.kind == Kind::Counter => return,
            Answer::Not => (now(), Action::Refused(element)),
            Answer::Unknown => {
                let action = match object.kind {
                    Kind::Register | Kind::Pair => Action::Write(element),
                    Kind::Counter => Action::Increment(None),
                    Kind::List => Action::Append(element, None),
                    _ => Action::Add(element, None),
                };
                (NEVER, action)
            }
        };
        world.record(object, Op { client: self.number, call, ret, action });
    }

    /// Reads the whole object; false if there was no answer.
    async fn read(&mut self, object: Object) -> bool {
        let key = object.key("sim");
        let key = key.as_bytes();
        let (a, b) = ([key, b":a"].concat(), [key, b":b"].concat());
        let call = now();
        let command: &[&[u8]] = match object.kind {
            Kind::Pair => &[b"MGET", &a, &b],
            Kind::List => &[b"LRANGE", key, b"0", b"-1"],
            Kind::Set => &[b"SMEMBERS", key],
            _ => &[b"GET", key],
        };
        let Answer::Replies(replies) = self.call_all(&[command]).await else { return false };
        let seen = match (object.kind, &replies[0]) {
            (Kind::Pair, Reply::Array(values)) if values.len() == 2 => {
                match (number_or_nil(&values[0]), number_or_nil(&values[1])) {
                    (Some(a), Some(b)) if a == b => Some(Action::Read(a)),
                    (Some(a), Some(b)) => Some(Action::Halves(a, b)),
                    _ => None,
                }
            }
            (kind, reply) => whole(kind, reply),
        };
        match seen {
            Some(action) => self.world.record(object, Op { client: self.number, call, ret: now(), action }),
            None => {
                self.world.surprise(format!("a read of {} was answered {}", object.key("sim"), replies[0]))
            }
        }
        true
    }

    async fn call_all(&mut self, commands: &[&[&[u8]]]) -> Answer {
        if self.connection.is_none() {
            match Connection::open(&self.world, self.node).await {
                Ok(connection) => self.connection = Some(connection),
                Err(_) => {
                    self.move_on(None).await;
                    return Answer::Not;
                }
            }
        }
        let connection = self.connection.as_mut().expect("it was just made");
        let replies = match connection.call_all(commands).await {
            Ok(replies) => replies,
            Err(_) => {
                self.move_on(None).await;
                return Answer::Unknown;
            }
        };
        // Of a transaction the first refusal says why; the last reply, what became of it.
        let reply = match replies.iter().find(|reply| verdict(reply) != Verdict::Reply) {
            None => return Answer::Replies(replies),
            Some(reply) => reply,
        };
        let last = verdict(replies.last().expect("a reply for each command"));
        let text = reply.to_string();
        self.move_on(Some(&text)).await;
        match last {
            Verdict::Refused => Answer::Not,
            Verdict::Doubt => Answer::Unknown,
            Verdict::Reply => {
                // MULTI was refused and EXEC answers that there was none.
                match replies.last() {
                    Some(Reply::Error(_)) => Answer::Not,
                    _ => Answer::Replies(replies),
                }
            }
        }
    }

    /// To the node that was named, or to the next one.
    async fn move_on(&mut self, refusal: Option<&str>) {
        self.connection = None;
        let named = refusal.and_then(|text| {
            let place = text.split("MOVED ").nth(1)?.split(' ').nth(1)?;
            self.world.names.iter().position(|name| place.starts_with(&format!("{name}:")))
        });
        self.node = named.unwrap_or((self.node + 1) % self.world.names.len());
        sleep(BACK_OFF).await;
    }
}

fn is_array_of_ok(reply: &Reply) -> bool {
    matches!(reply, Reply::Array(replies) if replies.iter().all(is_ok))
}
