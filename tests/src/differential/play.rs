//! Plays an episode on both servers and compares what they answer, and what they hold in the end.

use super::compare::{self, Verdict};
use super::generate::{CLIENTS, DUMP_OF, Step, speaks_resp3};
use super::known::KNOWN;
use crate::golden::{Received, Reply, Source};
use crate::server::{Connection, Server};
use anyhow::{Context, bail, ensure};
use std::net::SocketAddr;
use std::time::Duration;

/// How long a server may take for an answer.
const REPLY_LIMIT: Duration = Duration::from_secs(10);
/// Commands and bytes that are sent before replies are read: what fits into the sockets' buffers.
const CHUNK_STEPS_MAX: usize = 64;
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// Databases that are looked at when an episode is over.
const DATABASES: usize = 3;
/// What follows a command to which there may be any number of replies.
const MARKER: &[u8] = b"end of the replies";

/// Two servers that get the same commands.
pub struct Pair {
    redis: Side,
    cairn: Side,
    source: Source,
}

struct Side {
    _server: Server,
    addr: SocketAddr,
    control: Connection,
    clients: Vec<Connection>,
}

/// Where the servers disagree.
#[derive(Clone, Debug)]
pub struct Difference {
    /// In the episode; none if they agreed until its end, and then held different things.
    pub at: Option<usize>,
    pub args: Vec<Vec<u8>>,
    pub redis: Reply,
    pub cairn: Reply,
}

/// What an episode was like.
#[derive(Default)]
pub struct Outcome {
    pub commands: usize,
    /// How often each row of [`KNOWN`] was needed.
    pub known: Vec<usize>,
    pub differences: Vec<Difference>,
}

/// What one server answered to one step: mostly one reply.
type Answer = Vec<Reply>;

impl Pair {
    pub fn start() -> anyhow::Result<Pair> {
        let (redis, source) = Server::redis(&[])?;
        // What a crash would cost is no question here.
        let cairn = Server::cairn(&["--appendfsync", "no"])?;
        Ok(Pair { redis: Side::new(redis)?, cairn: Side::new(cairn)?, source })
    }

    /// Plays the steps on empty servers. Ends at the first difference, or goes on and collects up to `differences_max`.
    pub fn play(&mut self, steps: &[Step], differences_max: usize) -> anyhow::Result<Outcome> {
        self.redis.empty()?;
        self.cairn.empty()?;
        let mut outcome = Outcome { known: vec![0; KNOWN.len()], ..Outcome::default() };
        let mut clients: Vec<ClientState> = (0..CLIENTS).map(|_| ClientState::default()).collect();
        let mut at = 0;
        while at < steps.len() {
            let client = steps[at].client;
            let many = clients[client].may_hear_more(&steps[at]);
            let length = if many { 1 } else { chunk_length(&steps[at..]) };
            let args = self.with_dumps(&steps[at..at + length])?;
            let redis = self.redis.send(client, &args, many);
            let cairn = self.cairn.send(client, &args, many);
            redis.and(cairn)?;
            let redis = self.redis.receive(client, args.len(), many)?;
            let cairn = self.cairn.receive(client, args.len(), many)?;
            for (offset, (redis, cairn)) in redis.into_iter().zip(cairn).enumerate() {
                let step = &steps[at + offset];
                outcome.commands += 1;
                let verdict = clients[client].compare(&step.args, &redis, &cairn, self.source);
                outcome.note(verdict, Some(at + offset), &step.args, redis, cairn);
            }
            if outcome.differences.len() >= differences_max {
                return Ok(outcome);
            }
            at += length;
        }
        self.compare_states(&mut outcome)?;
        Ok(outcome)
    }

    /// The arguments of the steps, with redis-server's DUMPs where they stand for one.
    fn with_dumps(&mut self, steps: &[Step]) -> anyhow::Result<Vec<Vec<Vec<u8>>>> {
        let mut all = Vec::with_capacity(steps.len());
        for step in steps {
            let mut args = step.args.clone();
            for arg in &mut args {
                if let Some(key) = arg.strip_prefix(DUMP_OF) {
                    let reply = self.redis.ask(&[b"DUMP".to_vec(), key.to_vec()])?;
                    *arg = if let Reply::Bulk(dump) = reply { dump } else { b"no dump".into() };
                }
            }
            all.push(args);
        }
        Ok(all)
    }

    fn compare_states(&mut self, outcome: &mut Outcome) -> anyhow::Result<()> {
        for database in 0..DATABASES {
            let select = words(&["SELECT", &database.to_string()]);
            self.redis.ask(&select)?;
            self.cairn.ask(&select)?;
            let Some(Reply::Array(keys)) = self.look(&words(&["KEYS", "*"]), false, outcome)? else {
                continue;
            };
            for key in keys {
                let Reply::Bulk(key) = key else { bail!("KEYS answered {key}") };
                self.compare_key(&key, outcome)?;
            }
        }
        self.redis.ask(&words(&["SELECT", "0"]))?;
        self.cairn.ask(&words(&["SELECT", "0"]))?;
        self.look(&words(&["FUNCTION", "LIST", "WITHCODE"]), false, outcome)?;
        Ok(())
    }

    fn compare_key(&mut self, key: &[u8], outcome: &mut Outcome) -> anyhow::Result<()> {
        let about = |command: &[&str], rest: &[&str]| {
            let rest = words(rest);
            [words(command), vec![key.to_vec()], rest].concat()
        };
        let Some(Reply::Simple(kind)) = self.look(&about(&["TYPE"], &[]), false, outcome)? else {
            return Ok(());
        };
        let encoding = self.look(&about(&["OBJECT", "ENCODING"], &[]), false, outcome)?;
        self.look(&about(&["PTTL"], &[]), false, outcome)?;
        let content = match kind.as_slice() {
            b"string" => about(&["GET"], &[]),
            b"list" => about(&["LRANGE"], &["0", "-1"]),
            b"set" => about(&["SMEMBERS"], &[]),
            b"hash" => about(&["HGETALL"], &[]),
            b"zset" => about(&["ZRANGE"], &["0", "-1", "WITHSCORES"]),
            b"stream" => about(&["XINFO", "STREAM"], &["FULL", "COUNT", "0"]),
            _ => bail!("TYPE answered {}", kind.escape_ascii()),
        };
        // These keep the order in which elements came.
        let in_order =
            [&b"listpack"[..], b"intset"].into_iter().any(|name| encoding == Some(Reply::Bulk(name.into())));
        self.look(&content, in_order && kind != b"stream", outcome)?;
        Ok(())
    }

    /// Asks both; what redis-server says if they agree.
    fn look(
        &mut self,
        args: &[Vec<u8>],
        in_order: bool,
        outcome: &mut Outcome,
    ) -> anyhow::Result<Option<Reply>> {
        let (redis, cairn) = (self.redis.ask(args)?, self.cairn.ask(args)?);
        let verdict = match in_order {
            true => compare::compare_in_order(args, &redis, &cairn, self.source),
            false => compare::compare(args, &redis, &cairn, self.source),
        };
        let agreed = (verdict != Verdict::Differs).then(|| redis.clone());
        outcome.note(verdict, None, args, vec![redis], vec![cairn]);
        Ok(agreed)
    }
}

impl Difference {
    /// What differences that have the same reason have in common, mostly.
    pub fn kind(&self) -> String {
        let mut command = compare::inner(&self.args)[0].to_ascii_uppercase();
        if command == b"EXEC" {
            command = shown(&self.args).into();
        }
        let word = |reply: &Reply| match reply {
            Reply::Error(text) => String::from_utf8_lossy(text).into_owned(),
            other => compare::kind_of(other).into(),
        };
        format!("{} {} {}", command.escape_ascii(), word(&self.redis), word(&self.cairn))
    }
}

impl Outcome {
    fn note(&mut self, verdict: Verdict, at: Option<usize>, args: &[Vec<u8>], redis: Answer, cairn: Answer) {
        match verdict {
            Verdict::Same => {}
            Verdict::Known(row) => self.known[row] += 1,
            Verdict::Differs => {
                let one = |mut answer: Answer| match answer.len() {
                    1 => answer.remove(0),
                    _ => Reply::Array(answer),
                };
                self.differences.push(Difference {
                    at,
                    args: args.to_vec(),
                    redis: one(redis),
                    cairn: one(cairn),
                });
            }
        }
    }
}

/// How many steps from the first on are sent at once.
fn chunk_length(steps: &[Step]) -> usize {
    let mut bytes = 0;
    let fits = |step: &Step, bytes: &mut usize| {
        *bytes += step.args.iter().map(Vec::len).sum::<usize>();
        // What a DUMP is depends on what comes before it, and so does how many replies there are.
        let waits = step.args.iter().any(|arg| arg.starts_with(DUMP_OF)) || is_about_subscriptions(step);
        step.client == steps[0].client && *bytes <= CHUNK_BYTES_MAX && !waits
    };
    1 + steps[1..].iter().take(CHUNK_STEPS_MAX - 1).take_while(|step| fits(step, &mut bytes)).count()
}

fn is_about_subscriptions(step: &Step) -> bool {
    step.args[0].to_ascii_uppercase().ends_with(b"SUBSCRIBE")
}

/// What decides how a client's replies are to be read.
#[derive(Default)]
struct ClientState {
    subscribes: bool,
    /// The commands that EXEC will answer.
    queue: Option<Vec<Vec<Vec<u8>>>>,
}

impl ClientState {
    /// Whether anything but one reply may follow this step.
    fn may_hear_more(&mut self, step: &Step) -> bool {
        if self.queue.is_some() {
            return false;
        }
        let many = self.subscribes || is_about_subscriptions(step);
        // A generated subscriber ends so.
        self.subscribes = many && !(step.args.len() == 1 && step.args[0] == b"SUNSUBSCRIBE");
        many
    }

    fn compare(&mut self, args: &[Vec<u8>], redis: &Answer, cairn: &Answer, source: Source) -> Verdict {
        if redis.len() != cairn.len() {
            return Verdict::Differs;
        }
        let ends = args[0].eq_ignore_ascii_case(b"EXEC");
        let verdict = match (&redis[..], &cairn[..], &self.queue) {
            ([Reply::Array(redis)], [Reply::Array(cairn)], Some(queue))
                if ends && redis.len() == cairn.len() =>
            {
                let replies = queue.iter().zip(redis).zip(cairn);
                worst(replies.map(|((args, redis), cairn)| compare::compare(args, redis, cairn, source)))
            }
            _ => {
                let each = redis.iter().zip(cairn);
                worst(each.map(|(redis, cairn)| compare::compare(args, redis, cairn, source)))
            }
        };
        let verdict = match verdict {
            // Their order may be what differs.
            Verdict::Differs if redis.len() > 1 => {
                let (redis, cairn) = (Reply::Array(redis.clone()), Reply::Array(cairn.clone()));
                compare::compare_in_order(args, &redis, &cairn, source)
            }
            verdict => verdict,
        };
        match redis.first() {
            Some(Reply::Simple(text)) if text == b"QUEUED" => {
                if let Some(queue) = &mut self.queue {
                    queue.push(args.to_vec());
                }
            }
            Some(Reply::Simple(_)) if args[0].eq_ignore_ascii_case(b"MULTI") => self.queue = Some(Vec::new()),
            Some(reply) if ends || args[0].eq_ignore_ascii_case(b"DISCARD") => {
                let is_arity = matches!(reply, Reply::Error(text) if text.starts_with(b"ERR wrong number"));
                if !is_arity {
                    self.queue = None;
                }
            }
            _ => {}
        }
        verdict
    }
}

fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    verdicts.fold(Verdict::Same, |worst, verdict| match (worst, verdict) {
        (Verdict::Differs, _) | (_, Verdict::Differs) => Verdict::Differs,
        (Verdict::Same, other) => other,
        (known, _) => known,
    })
}

impl Side {
    fn new(server: Server) -> anyhow::Result<Side> {
        let addr = server.addr();
        Ok(Side { addr, control: Connection::open(addr)?, clients: Vec::new(), _server: server })
    }

    /// Drops all clients and all state.
    fn empty(&mut self) -> anyhow::Result<()> {
        self.clients.clear();
        for command in [&["FLUSHALL"][..], &["FUNCTION", "FLUSH"], &["SCRIPT", "FLUSH"]] {
            let reply = self.ask(&words(command))?;
            ensure!(reply == Reply::Simple(b"OK".into()), "{command:?} answered {reply}");
        }
        for client in 0..CLIENTS {
            let mut connection = Connection::open(self.addr)?;
            if speaks_resp3(client) {
                connection.call(&["HELLO", "3"], REPLY_LIMIT)?;
            }
            self.clients.push(connection);
        }
        Ok(())
    }

    fn ask(&mut self, args: &[Vec<u8>]) -> anyhow::Result<Reply> {
        self.control.send(args)?;
        self.control.reply(REPLY_LIMIT).with_context(|| shown(args))
    }

    fn send(&mut self, client: usize, commands: &[Vec<Vec<u8>>], many: bool) -> anyhow::Result<()> {
        let connection = &mut self.clients[client];
        for args in commands {
            connection.send(args)?;
        }
        if many {
            connection.send(&[b"PING".to_vec(), MARKER.to_vec()])?;
        }
        Ok(())
    }

    /// An answer for each command. What does not come is an answer, too.
    fn receive(&mut self, client: usize, commands: usize, many: bool) -> anyhow::Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(commands);
        let mut answer = Vec::new();
        while answers.len() < commands {
            let reply = match self.clients[client].receive(REPLY_LIMIT) {
                Ok(Received::Reply(reply)) => reply,
                Ok(Received::Closed) => Reply::Masked("(closed)".into()),
                Ok(Received::Nothing) => Reply::Masked("(no reply)".into()),
                Err(error) => Reply::Masked(format!("({error:#})")),
            };
            let is_lost = matches!(reply, Reply::Masked(_));
            let is_marker = match &reply {
                Reply::Bulk(text) => text == MARKER,
                Reply::Array(items) => items.last() == Some(&Reply::Bulk(MARKER.into())),
                _ => false,
            };
            if !is_marker {
                answer.push(reply);
            }
            if is_lost {
                answers.resize(commands, answer.clone());
            } else if is_marker || !many {
                answers.push(std::mem::take(&mut answer));
            }
        }
        Ok(answers)
    }
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// A command line as in the golden scripts.
pub fn shown(args: &[Vec<u8>]) -> String {
    let word = |arg: &Vec<u8>| {
        let text = match arg.strip_prefix(DUMP_OF) {
            Some(key) => return format!("(DUMP of {})", key.escape_ascii()),
            None => Reply::Bulk(arg.clone()).to_string(),
        };
        let is_plain =
            !arg.is_empty() && arg.iter().all(|&byte| byte.is_ascii_graphic() && !b"\"'\\{}".contains(&byte));
        if is_plain { text[1..text.len() - 1].to_owned() } else { text }
    };
    args.iter().map(word).collect::<Vec<_>>().join(" ")
}
