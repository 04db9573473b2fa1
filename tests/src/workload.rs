//! A load of every kind of command, for tests in which one server follows another, and the comparison of the two.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::golden::Reply;
use crate::server::Connection;

/// For whatever a test waits for.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Databases that the load uses.
pub const DATABASES: [&str; 3] = ["0", "1", "9"];

/// A library that the load calls: it is to be loaded before.
pub const LIBRARY: &str = "#!lua name=counting\nredis.register_function('count', function(keys, args) \
    redis.call('HINCRBYFLOAT', keys[1], args[1], '0.5') return redis.call('EXPIRE', keys[1], 1000) end)";

/// A number that follows from the last one; good enough to mix commands.
pub struct Dice(pub u64);

impl Dice {
    /// Less than `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// One command of any kind, or several that make a transaction.
    pub fn lines(&mut self) -> Vec<String> {
        let key = |dice: &mut Self, kind: &str| format!("{kind}:{}", dice.roll(12));
        let (n, member) = (self.roll(1000), self.roll(30));
        let line = match self.roll(44) {
            0 => format!("SET {} v{n}", key(self, "string")),
            1 => format!("SET {} v{n} PX {}", key(self, "string"), 1 + self.roll(40)),
            2 => format!("SETEX {} 1000 v{n}", key(self, "string")),
            3 => format!("APPEND {} tail{n}", key(self, "string")),
            4 => format!("INCRBY {} {n}", key(self, "counter")),
            5 => format!("INCRBYFLOAT {} 0.25", key(self, "counter")),
            6 => format!("SETRANGE {} {member} range", key(self, "string")),
            7 => format!("SETBIT {} {n} 1", key(self, "bits")),
            8 => format!("PFADD {} e{n}", key(self, "sketch")),
            9 => format!("PFCOUNT {}", key(self, "sketch")),
            10 => format!("GETEX {} EX 500", key(self, "string")),
            11 => format!("GETDEL {}", key(self, "string")),
            12 => format!("LPUSH {} a{n} b c", key(self, "list")),
            13 => format!("LMPOP 2 {} {} RIGHT COUNT 2", key(self, "list"), key(self, "list")),
            14 => format!("LMOVE {} {} LEFT RIGHT", key(self, "list"), key(self, "list")),
            15 => format!("LTRIM {} 0 50", key(self, "list")),
            16 => format!("SORT {} ALPHA STORE {}", key(self, "list"), key(self, "sorted")),
            17 => format!("SADD {} m{member} {n} x{n}", key(self, "set")),
            18 => format!("SPOP {}", key(self, "set")),
            19 => format!("SPOP {} 4", key(self, "set")),
            20 => format!("SINTERSTORE {} {} {}", key(self, "set"), key(self, "set"), key(self, "set")),
            21 => format!("HSET {} f{member} v{n} g {n}", key(self, "hash")),
            22 => format!("HINCRBY {} n {n}", key(self, "hash")),
            23 => format!("HDEL {} f{member}", key(self, "hash")),
            24 => format!("ZADD {} {n}.5 m{member} {n} k", key(self, "zset")),
            25 => format!("ZINCRBY {} 0.25 m{member}", key(self, "zset")),
            26 => format!("ZPOPMIN {}", key(self, "zset")),
            27 => format!("ZMPOP 1 {} MAX COUNT 2", key(self, "zset")),
            28 => format!("ZRANGESTORE {} {} 0 3", key(self, "zset"), key(self, "zset")),
            29 => format!("GEOADD {} 13.{n} 38.{n} p{member}", key(self, "geo")),
            30 => format!("XADD {} MAXLEN ~ 60 * f v{n}", key(self, "stream")),
            31 => format!("XGROUP CREATE {} g 0 MKSTREAM", key(self, "stream")),
            32 => format!("XREADGROUP GROUP g c{member} COUNT 3 STREAMS {} >", key(self, "stream")),
            33 => format!("XREADGROUP GROUP g c{member} COUNT 2 STREAMS {} 0", key(self, "stream")),
            34 => format!("XAUTOCLAIM {} g c{member} 0 0 COUNT 2", key(self, "stream")),
            35 => format!("XTRIM {} MAXLEN 20", key(self, "stream")),
            36 => format!("EXPIRE {} {}", key(self, "set"), 1 + self.roll(2)),
            37 => format!("PERSIST {}", key(self, "set")),
            38 => format!("RENAME {} {}", key(self, "string"), key(self, "string")),
            39 => format!("COPY {} {} DB 1 REPLACE", key(self, "zset"), key(self, "zset")),
            40 => format!("FCALL count 1 {} f{member}", key(self, "hash")),
            41 => {
                let script = "redis.call('SET',KEYS[1],ARGV[1]);redis.call('LPUSH',KEYS[2],ARGV[1])";
                format!("EVAL {script} 2 {} {} v{n}", key(self, "string"), key(self, "list"))
            }
            42 if n < 60 => "SWAPDB 0 9".to_owned(),
            42 => format!("SELECT {}", DATABASES[self.roll(3) as usize]),
            _ if n < 30 => ["FLUSHALL", "FLUSHDB"][self.roll(2) as usize].to_owned(),
            _ => {
                let inner = (0..1 + self.roll(4)).map(|_| self.lines()).filter(|lines| lines.len() == 1);
                let inner: Vec<String> = inner.flatten().collect();
                return [vec!["MULTI".to_owned()], inner, vec!["EXEC".to_owned()]].concat();
            }
        };
        vec![line]
    }
}

/// Sends a command, whose words are parted by blanks.
pub fn call(client: &mut Connection, line: &str) -> Reply {
    let words: Vec<&str> = line.split(' ').collect();
    client.call(&words, LIMIT).unwrap()
}

pub fn open(addr: SocketAddr) -> Connection {
    Connection::open(addr).unwrap()
}

/// Waits until `done`.
pub fn poll(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < LIMIT, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A field of INFO; empty: there is none.
pub fn info(client: &mut Connection, name: &str) -> String {
    let Reply::Bulk(text) = call(client, "INFO") else { panic!("INFO is text") };
    let text = String::from_utf8_lossy(&text).into_owned();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_default().to_owned()
}

/// A field of INFO that is a number.
pub fn info_number(client: &mut Connection, name: &str) -> u64 {
    let text = info(client, name);
    text.parse().unwrap_or_else(|_| panic!("INFO says {text:?} of {name}"))
}

/// Everything that clients can see of the data, except what is only measured.
pub fn contents(addr: SocketAddr) -> BTreeMap<String, String> {
    let mut client = open(addr);
    let mut all =
        BTreeMap::from([("functions".to_owned(), call(&mut client, "FUNCTION LIST WITHCODE").to_string())]);
    for db in DATABASES {
        call(&mut client, &format!("SELECT {db}"));
        let Reply::Array(keys) = call(&mut client, "KEYS *") else { panic!("KEYS answers names") };
        for key in keys {
            let Reply::Bulk(key) = key else { panic!("a name") };
            let key = String::from_utf8(key).unwrap();
            let Reply::Simple(kind) = call(&mut client, &format!("TYPE {key}")) else { panic!("a type") };
            let kind = String::from_utf8(kind).unwrap();
            let (line, ordered) = match kind.as_str() {
                "string" => (format!("GET {key}"), true),
                "list" => (format!("LRANGE {key} 0 -1"), true),
                "set" => (format!("SMEMBERS {key}"), false),
                "hash" => (format!("HGETALL {key}"), false),
                "zset" => (format!("ZRANGE {key} 0 -1 WITHSCORES"), true),
                "stream" => (format!("XRANGE {key} - +"), true),
                other => panic!("{key} is a {other}"),
            };
            let mut text = match call(&mut client, &line) {
                Reply::Array(items) if !ordered => {
                    // Fields stay beside their values.
                    let step = if kind == "hash" { 2 } else { 1 };
                    let mut rows: Vec<String> = items.chunks(step).map(|row| format!("{row:?}")).collect();
                    rows.sort();
                    rows.join(" ")
                }
                reply => reply.to_string(),
            };
            text += &call(&mut client, &format!("PEXPIRETIME {key}")).to_string();
            if kind == "stream" {
                text += &groups(&mut client, &key);
            }
            all.insert(format!("{db} {key} {kind}"), text);
        }
    }
    all
}

/// The groups of a stream, how far they are, and what is pending, how many times delivered.
fn groups(client: &mut Connection, key: &str) -> String {
    let mut text = call(client, &format!("XINFO GROUPS {key}")).to_string();
    if let Reply::Array(rows) = call(client, &format!("XPENDING {key} g - + 1000")) {
        for row in rows {
            let Reply::Array(row) = row else { panic!("a row") };
            // Not the third: how long ago that was.
            text += &format!(" {} {} \"delivered\", {}", row[0], row[1], row[3]);
        }
    }
    text
}

/// Writes until told to stop.
pub fn write(addr: SocketAddr, seed: u64, stop: &AtomicBool, done: &AtomicUsize) {
    let mut client = open(addr);
    let mut dice = Dice(seed);
    while !stop.load(Ordering::Relaxed) {
        for line in dice.lines() {
            // Wrong types and missing groups are errors, which are as good as any.
            call(&mut client, &line);
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes a little that nothing takes away again, so that there is something to compare.
pub fn leave_something(client: &mut Connection) {
    const COMMANDS: usize = 300;
    let mut dice = Dice(u64::MAX);
    let lines = std::iter::repeat_with(|| dice.lines())
        .filter(|lines| !lines.iter().any(|line| line.starts_with("FLUSH") || line.starts_with("SWAPDB")));
    for line in lines.take(COMMANDS).flatten() {
        call(client, &line);
    }
    call(client, "SELECT 0");
}

/// Ends writers, whatever fails.
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until nothing in the data is about to expire: that is the master's doing, in its own time.
pub fn settle(client: &mut Connection) {
    poll("nothing is about to expire", || {
        call(client, "WAIT 1 1000");
        let mut pending = 0;
        for db in DATABASES {
            call(client, &format!("SELECT {db}"));
            let Reply::Array(keys) = call(client, "KEYS *") else { panic!("names") };
            for key in keys {
                let Reply::Bulk(key) = key else { panic!("a name") };
                let key = String::from_utf8(key).unwrap();
                if let Reply::Integer(ttl_ms) = call(client, &format!("PTTL {key}")) {
                    pending += usize::from((0..20_000).contains(&ttl_ms));
                }
            }
        }
        pending == 0
    });
    assert_eq!(call(client, "WAIT 1 30000"), Reply::Integer(1));
}

/// What the master has, the replica has, and nothing else.
pub fn assert_equal_contents(master: SocketAddr, replica: SocketAddr) {
    compare(contents(master), contents(replica));
}

/// The same for a master of Redis 7.0, which tells nobody of consumers that look at their own history, nor how many entries a
/// group has read.
pub fn assert_equal_but_for_reading(master: SocketAddr, replica: SocketAddr) {
    let without = |all: BTreeMap<String, String>| {
        all.into_iter().map(|(key, value)| (key, without_reading(&value))).collect()
    };
    compare(without(contents(master)), without(contents(replica)));
}

fn without_reading(text: &str) -> String {
    let mut words = text.split_whitespace();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        kept.push(word);
        if ["\"consumers\",", "\"entries-read\",", "\"lag\",", "\"delivered\","].contains(&word) {
            words.next();
        }
    }
    kept.join(" ")
}

/// Panics with the first key that is not the same.
pub fn compare(ours: BTreeMap<String, String>, theirs: BTreeMap<String, String>) {
    for (key, value) in &ours {
        assert_eq!(theirs.get(key), Some(value), "{key}");
    }
    assert_eq!(ours.len(), theirs.len(), "the replica has keys that are nowhere else");
    assert!(ours.len() > 10, "the load has left something to compare: {}", ours.len());
}
