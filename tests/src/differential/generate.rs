//! Episodes: random commands of several clients, which begin with an empty server.

use super::catalogue::{PATTERNS, SORTS};
use super::grammar::Pattern;
use super::values::{KEY_POOLS, Kind, LEX_KEYS, Values};

/// Two that speak RESP2 and two that speak RESP3. They take turns, never at the same time: what one finds is what those
/// before it have left.
pub const CLIENTS: usize = 4;

/// Whether the client says HELLO 3 first.
pub fn speaks_resp3(client: usize) -> bool {
    client % 2 == 1
}

/// What one client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub client: usize,
    pub args: Vec<Vec<u8>>,
}

/// An argument that begins so stands for what redis-server answers to DUMP of the key behind it.
pub const DUMP_OF: &[u8] = b"\x00dump of ";

const DELETE_IF_SORTED_SET: &str =
    "if redis.call('TYPE', KEYS[1]).ok == 'zset' then redis.call('DEL', KEYS[1]) end";

/// Draws episodes from a seed.
pub struct Generator {
    values: Values,
    patterns: Vec<Pattern>,
    sorts: Vec<Pattern>,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        let all = |texts: &[&str]| texts.iter().map(|text| Pattern::parse(text)).collect();
        Generator { values: Values::new(seed), patterns: all(PATTERNS), sorts: all(SORTS) }
    }

    /// About `length` commands.
    pub fn episode(&self, length: usize) -> Vec<Step> {
        let mut steps = Vec::with_capacity(length + 16);
        while steps.len() < length {
            let client = self.values.below(CLIENTS);
            // Mostly many in a row, so that they go out together.
            for _ in 0..1 + self.values.below(40) {
                self.unit(client, &mut steps);
            }
        }
        steps
    }

    /// A command, or several that belong together.
    fn unit(&self, client: usize, steps: &mut Vec<Step>) {
        let values = &self.values;
        let mut say = |args: Vec<Vec<u8>>| steps.push(Step { client, args });
        match values.below(200) {
            0..4 => self.transaction(client, steps),
            4..6 => self.watched(client, steps),
            6..14 => {
                let call =
                    *values.pick(&["return redis.call(unpack(ARGV))", "return redis.pcall(unpack(ARGV))"]);
                let mut args = words(&["EVAL", call, "0"]);
                args.extend(self.command());
                // 7.0 refuses what may block, and then holds another state.
                if !may_block(&args[3..]) {
                    say(args);
                }
            }
            14..19 => {
                let form = *values.pick(&["GETKEYS", "GETKEYS", "GETKEYSANDFLAGS"]);
                let mut args = words(&["COMMAND", form]);
                args.extend(self.command());
                say(args);
            }
            19..22 => {
                let database = *values.pick(&["1", "1", "2"]);
                say(words(&["SELECT", database]));
                for _ in 0..1 + values.below(6) {
                    say(self.command());
                }
                say(words(&["SELECT", "0"]));
            }
            22..25 => self.published(client, steps),
            25..28 => {
                // Which elements go is chance: nothing may be left of those that stay.
                let key = values.draw(Kind::Key("t"));
                let mut args = words(&["SPOP"]);
                args.push(key.clone());
                if values.chance(1, 2) {
                    args.push((1 + values.below(20)).to_string().into());
                }
                say(args);
                say(vec![b"SCARD".into(), key.clone()]);
                say(vec![b"DEL".into(), key]);
            }
            28..31 => {
                // The time of day is in the id.
                let key = values.draw(Kind::Key("x"));
                say(vec![b"XADD".into(), key.clone(), b"*".into(), b"f".into(), values.draw(Kind::Value)]);
                say(vec![b"DEL".into(), key]);
            }
            31..36 => {
                let mut args = words(&["RESTORE"]);
                args.push(values.draw(Kind::AnyKey));
                args.push(match values.below(8) {
                    0 => values.draw(Kind::Milliseconds),
                    1 => values.draw(Kind::AtMilliseconds),
                    _ => b"0".into(),
                });
                args.push(match values.below(10) {
                    0 => values.draw(Kind::Value),
                    _ => [DUMP_OF, &values.draw(Kind::AnyKey)].concat(),
                });
                for option in ["REPLACE", "ABSTTL", "IDLETIME 5", "FREQ 3", "IDLETIME -1", "FREQ 256", "WHAT"]
                {
                    if values.chance(1, if option == "REPLACE" { 2 } else { 12 }) {
                        args.extend(option.split(' ').map(|word| word.as_bytes().to_vec()));
                    }
                }
                if is_safe(&args) {
                    say(args);
                }
            }
            36..41 => {
                let args = self.one_of(&self.sorts);
                if let Some(key) = args.get(1).cloned() {
                    // SORT takes an ERANGE that an earlier command has left in errno for its own; ZADD resets it.
                    say(words(&["ZADD", "none", "XX", "1", "m"]));
                    say(args);
                    say(vec![b"EVAL".into(), DELETE_IF_SORTED_SET.into(), b"1".into(), key]);
                }
            }
            41..45 => {
                let key = values.draw(Kind::Key(values.pick::<&str>(KEY_POOLS)));
                say(vec![b"DEL".into(), key]);
            }
            _ => say(self.command()),
        }
    }

    fn transaction(&self, client: usize, steps: &mut Vec<Step>) {
        let end = *self.values.pick(&["EXEC", "EXEC", "EXEC", "EXEC", "DISCARD"]);
        steps.push(Step { client, args: words(&["MULTI"]) });
        for _ in 0..self.values.below(7) {
            let args = match self.values.below(20) {
                0 => words(&["MULTI"]),
                1 => words(&["WATCH", "s1"]),
                _ => self.command(),
            };
            steps.push(Step { client, args });
        }
        steps.push(Step { client, args: words(&[end]) });
    }

    /// A transaction that is refused if somebody, who may be the client itself, has changed what it watches.
    fn watched(&self, client: usize, steps: &mut Vec<Step>) {
        let key = self.values.draw(Kind::AnyKey);
        let mut watch = vec![b"WATCH".to_vec(), key.clone()];
        if self.values.chance(1, 3) {
            watch.push(self.values.draw(Kind::AnyKey));
        }
        steps.push(Step { client, args: watch });
        for _ in 0..self.values.below(3) {
            let client = self.values.below(CLIENTS);
            let mut args = self.command();
            if args.len() > 1 && self.values.chance(1, 2) {
                args[1] = key.clone();
            }
            if is_safe(&args) {
                steps.push(Step { client, args });
            }
        }
        self.transaction(client, steps);
    }

    /// A client that subscribes, hears what it publishes itself, and leaves again.
    fn published(&self, client: usize, steps: &mut Vec<Step>) {
        let values = &self.values;
        let channels = |command: &str, least: usize| {
            let mut args = words(&[command]);
            args.extend((0..least + values.below(3)).map(|_| values.draw(Kind::Channel)));
            Step { client, args }
        };
        let (enter, leave) = *values.pick(&[
            ("SUBSCRIBE", "UNSUBSCRIBE"),
            ("PSUBSCRIBE", "PUNSUBSCRIBE"),
            ("SSUBSCRIBE", "SUNSUBSCRIBE"),
        ]);
        steps.push(channels(enter, 1));
        for _ in 0..values.below(4) {
            steps.push(match values.below(4) {
                0 => channels(leave, 0),
                1 => channels(enter, 0),
                2 => Step { client, args: words(&["GET", "s1"]) },
                _ => {
                    let name = if enter == "SSUBSCRIBE" { "SPUBLISH" } else { "PUBLISH" };
                    let args = vec![name.into(), values.draw(Kind::Channel), values.draw(Kind::Value)];
                    Step { client: values.below(CLIENTS), args }
                }
            });
        }
        for leave in ["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"] {
            steps.push(Step { client, args: words(&[leave]) });
        }
    }

    /// One command of the catalogue.
    fn command(&self) -> Vec<Vec<u8>> {
        self.one_of(&self.patterns)
    }

    /// A command of one of the patterns, of which something may be wrong.
    fn one_of(&self, patterns: &[Pattern]) -> Vec<Vec<u8>> {
        loop {
            let mut args = self.values.pick(patterns).draw(&self.values);
            if self.values.chance(1, 14) {
                self.spoil(&mut args);
            }
            if is_safe(&args) {
                return args;
            }
        }
    }

    fn spoil(&self, args: &mut Vec<Vec<u8>>) {
        let values = &self.values;
        let at = values.below(args.len());
        match values.below(6) {
            0 if at > 0 => drop(args.remove(at)),
            1 if at > 0 => args.insert(at, args[at].clone()),
            2 if at > 1 => args.swap(at, at - 1),
            3 if at > 0 => args[at] = values.draw(Kind::Junk),
            4 if !args[at].is_empty() => {
                let letter = values.below(args[at].len());
                args[at][letter] ^= *values.pick(&[0x20, 1, 0x80]);
            }
            _ => args.push(values.draw(Kind::Junk)),
        }
    }
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// Whether the command asks neither for gigabytes nor to wait for long, and leaves connection and server as they are.
fn is_safe(args: &[Vec<u8>]) -> bool {
    let name = args[0].to_ascii_uppercase();
    if !keeps_lexical_order(&name, args) || expires_soon(&name, args) {
        return false;
    }
    let integers = || {
        args[1..].iter().filter_map(|arg| std::str::from_utf8(arg).ok()?.trim_start_matches('#').parse().ok())
    };
    match name.as_slice() {
        // Strings up to 512 MB come of offsets that are not wrong.
        b"SETBIT" | b"SETRANGE" => {
            integers().all(|n: i128| !(1_000_000..(1 << 32)).contains(&n)) || args.len() != 4
        }
        b"BITFIELD" | b"BITFIELD_RO" => {
            // The same words are values of SET and INCRBY, which may be large.
            let mut args = args[2.min(args.len())..].iter();
            let mut offset_is_next = false;
            args.all(|arg| {
                let number = std::str::from_utf8(arg)
                    .ok()
                    .and_then(|arg| arg.trim_start_matches('#').parse::<i128>().ok());
                let is_offset = std::mem::take(&mut offset_is_next);
                offset_is_next = matches!(arg.first(), Some(b'u' | b'i' | b'U' | b'I'))
                    && arg.get(1).is_some_and(u8::is_ascii_digit);
                !is_offset || number.is_none_or(|n| !(1_000_000..(1 << 32)).contains(&n))
            })
        }
        // With repetition, as many as it is told to.
        b"SRANDMEMBER" | b"HRANDFIELD" | b"ZRANDMEMBER" => {
            integers().all(|n: i128| !(-i128::from(i64::MAX)..-1000).contains(&n))
        }
        // Only 7.2 has a third argument, and a command that is not queued spoils a transaction.
        b"ZRANK" | b"ZREVRANK" => args.len() != 4,
        b"BLPOP" | b"BRPOP" | b"BLMOVE" | b"BRPOPLPUSH" | b"BZPOPMIN" | b"BZPOPMAX" => {
            args.last().is_some_and(|timeout| ends_soon(timeout))
        }
        b"BLMPOP" | b"BZMPOP" => args.get(1).is_none_or(|timeout| ends_soon(timeout)),
        b"XREAD" | b"XREADGROUP" => {
            let mut after_block = args.windows(2).filter(|pair| pair[0].eq_ignore_ascii_case(b"BLOCK"));
            after_block.all(|pair| matches!(pair[1].as_slice(), b"1" | b"-1" | b"a" | b""))
        }
        // Redis 7.2 says nothing at all to a wrong password while it has something else to say.
        b"AUTH" => args.len() != 3,
        b"HELLO" => !args.iter().any(|arg| arg.eq_ignore_ascii_case(b"AUTH")) || args.len() == 4,
        b"WAIT" => args.get(1).is_none_or(|n| matches!(n.as_slice(), b"0" | b"a" | b"-1")),
        // The other strings are long, and the table has a cell for each pair of bytes.
        b"LCS" => args.iter().skip(1).take(2).all(|key| !key.starts_with(b"b") && !key.starts_with(b"s")),
        // The time of day is in the ids.
        b"XADD" => !args.iter().any(|arg| arg == b"*"),
        // Which elements go is chance.
        b"SPOP" => args.get(2).is_some_and(|count| {
            std::str::from_utf8(count)
                .ok()
                .and_then(|n| n.parse::<i64>().ok())
                .is_none_or(|n| n <= 0 || n >= 100_000)
        }),
        // Redis 7.2 breaks its protocol with a line end in the message.
        b"FUNCTION" => {
            !args.iter().skip(2).any(|arg| arg.iter().any(|byte| b"\r\n".contains(byte)) && arg.len() < 5)
        }
        b"MIGRATE" | b"SHUTDOWN" | b"MONITOR" | b"QUIT" | b"PSYNC" | b"SYNC" | b"RESET" => false,
        b"EVAL" | b"EVAL_RO" if args.len() > 3 && args[1].ends_with(b"(unpack(ARGV))") => is_safe(&args[3..]),
        _ => true,
    }
}

/// Whether something would expire while the run lasts, earlier on one server than on the other.
fn expires_soon(name: &[u8], args: &[Vec<u8>]) -> bool {
    let is_soon = |arg: &Vec<u8>, unit: i64| {
        let number = std::str::from_utf8(arg).ok().and_then(|arg| arg.parse::<i64>().ok());
        number.is_some_and(|n| (1..10_000_000 / unit).contains(&n))
    };
    match name {
        b"EXPIRE" | b"SETEX" => args.get(2).is_some_and(|arg| is_soon(arg, 1000)),
        b"PEXPIRE" | b"PSETEX" | b"RESTORE" => args.get(2).is_some_and(|arg| is_soon(arg, 1)),
        b"SET" | b"GETEX" => args.windows(2).any(|pair| {
            pair[0].eq_ignore_ascii_case(b"EX") && is_soon(&pair[1], 1000)
                || pair[0].eq_ignore_ascii_case(b"PX") && is_soon(&pair[1], 1)
        }),
        _ => false,
    }
}

/// Whether BYLEX meets only sets that it is meant for ([`Kind::LexKey`]), and they stay so.
fn keeps_lexical_order(name: &[u8], args: &[Vec<u8>]) -> bool {
    let is_lexical = |arg: &Vec<u8>| LEX_KEYS.contains(&arg.as_slice());
    let asks_by_lex = name.ends_with(b"LEX")
        || name == b"ZLEXCOUNT"
        || name.starts_with(b"ZRANGE") && args.iter().any(|arg| arg.eq_ignore_ascii_case(b"BYLEX"));
    let stores = name == b"ZRANGESTORE";
    if asks_by_lex {
        return args.iter().skip(1).take(if stores { 2 } else { 1 }).all(is_lexical);
    }
    match name {
        b"ZADD" if args.get(1).is_some_and(is_lexical) => {
            args[2..].iter().step_by(2).all(|score| score == b"0")
        }
        b"SET" => args.get(1).is_none_or(|key| !is_lexical(key) || key == b"y_string"),
        b"ZRANGE" | b"ZREM" | b"ZPOPMIN" | b"ZREMRANGEBYRANK" => true,
        _ => !args.iter().any(is_lexical),
    }
}

fn may_block(args: &[Vec<u8>]) -> bool {
    let name = args[0].to_ascii_uppercase();
    let has_block = || args.iter().any(|arg| arg.eq_ignore_ascii_case(b"BLOCK"));
    name == b"WAIT" || name.starts_with(b"XREAD") && has_block() || {
        let pops = [&b"POP"[..], b"MOVE", b"POPMIN", b"POPMAX", b"POPLPUSH"];
        name.starts_with(b"B") && pops.into_iter().any(|end| name.ends_with(end))
    }
}

/// Whether this is a time-out of a few milliseconds, or none at all.
fn ends_soon(timeout: &[u8]) -> bool {
    matches!(timeout, b"0.001" | b"0.002" | b"0.003" | b"1e400")
        || timeout.starts_with(b"-")
        || timeout.is_empty()
        || {
            timeout.iter().all(|byte| byte.is_ascii_alphabetic())
                && !timeout.to_ascii_lowercase().starts_with(b"inf")
        }
}
