//! Whether two replies say the same: what chance or the clock decides is left out, and nothing else.

use super::known::{self, Case};
use crate::golden::{Reply, Source};

/// What of a command's reply is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Exact,
    /// Elements of a hash table: in any order.
    AnyOrder,
    /// The same of the lists within.
    AnyOrderWithin,
    /// The same with a value behind each.
    AnyOrderOfPairs,
    /// Which elements, chance decides; how many, it does not.
    Shape,
    /// Only whether it is an error, and which: the reply speaks of the process or of the moment.
    Type,
    /// A cursor, and elements in any order; where the cursor is not 0, the order of the hash table decides which.
    Scan,
    ScanOfPairs,
    /// A time that goes on while the command is on its way.
    Near(u64),
    /// Entries that name the milliseconds since their delivery.
    Pending,
    /// The same, and of the last deed of a consumer.
    Idle,
}

/// Milliseconds that may lie between the two servers' execution of one command.
const APART_MS: u64 = 60_000;

fn rule_of(args: &[Vec<u8>]) -> Rule {
    let word = |at: usize| args.get(at).map(|arg| arg.to_ascii_uppercase()).unwrap_or_default();
    let has = |option: &[u8]| args.iter().any(|arg| arg.eq_ignore_ascii_case(option));
    let takes_all = || {
        args.iter().any(|arg| {
            std::str::from_utf8(arg).ok().and_then(|arg| arg.parse().ok()).is_some_and(|n: i64| n >= 100_000)
        })
    };
    match word(0).as_slice() {
        b"SMEMBERS" | b"SUNION" | b"SINTER" | b"SDIFF" | b"HKEYS" | b"HVALS" | b"KEYS" => Rule::AnyOrder,
        b"FUNCTION" if word(1) == b"LIST" => Rule::AnyOrderWithin,
        b"FUNCTION" if word(1) == b"DUMP" => Rule::Shape,
        b"PUBSUB" if word(1) == b"CHANNELS" || word(1) == b"SHARDCHANNELS" => Rule::AnyOrder,
        b"UNSUBSCRIBE" | b"PUNSUBSCRIBE" | b"SUNSUBSCRIBE" if args.len() == 1 => Rule::Type,
        b"HGETALL" => Rule::AnyOrderOfPairs,
        b"SPOP" | b"SRANDMEMBER" | b"HRANDFIELD" | b"ZRANDMEMBER" if takes_all() => match args.len() {
            4.. => Rule::AnyOrderOfPairs,
            _ => Rule::AnyOrder,
        },
        b"SPOP" | b"SRANDMEMBER" | b"HRANDFIELD" | b"ZRANDMEMBER" | b"RANDOMKEY" | b"TIME" | b"DUMP" => {
            Rule::Shape
        }
        b"XADD" if has(b"*") => Rule::Shape,
        b"SCAN" | b"SSCAN" => Rule::Scan,
        b"HSCAN" | b"ZSCAN" => Rule::ScanOfPairs,
        b"TTL" | b"EXPIRETIME" => Rule::Near(APART_MS / 1000),
        b"PTTL" | b"PEXPIRETIME" => Rule::Near(APART_MS),
        b"OBJECT" if word(1) == b"IDLETIME" => Rule::Near(APART_MS / 1000),
        b"XPENDING" if args.len() > 3 => Rule::Pending,
        b"XINFO" if word(1) == b"CONSUMERS" || word(1) == b"STREAM" => Rule::Idle,
        // Without sorting, a set comes in the order of its hash table.
        b"SORT" | b"SORT_RO" if has(b"BY") => match has(b"LIMIT") {
            true => Rule::Shape,
            false => Rule::AnyOrder,
        },
        b"HELLO" | b"COMMAND" if args.len() < 3 || word(0) == b"HELLO" => Rule::Type,
        b"MEMORY" | b"INFO" | b"LATENCY" | b"SLOWLOG" => Rule::Type,
        b"CLIENT" if [&b"ID"[..], b"INFO", b"LIST"].contains(&word(1).as_slice()) => Rule::Type,
        _ => Rule::Exact,
    }
}

/// The command that a script hands on, or the command itself.
pub fn inner(args: &[Vec<u8>]) -> &[Vec<u8>] {
    match args {
        [name, script, keys, inner @ ..]
            if name == b"EVAL"
                && script.ends_with(b"(unpack(ARGV))")
                && keys == b"0"
                && !inner.is_empty() =>
        {
            inner
        }
        _ => args,
    }
}

/// What came of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Same,
    /// The difference is in [`known::KNOWN`], there.
    Known(usize),
    Differs,
}

/// Compares the replies to a command.
pub fn compare(args: &[Vec<u8>], redis: &Reply, cairn: &Reply, source: Source) -> Verdict {
    let args = inner(args);
    judge(args, rule_of(args), redis, cairn, source)
}

/// The same where the order of elements is defined: a small encoding keeps it.
pub fn compare_in_order(args: &[Vec<u8>], redis: &Reply, cairn: &Reply, source: Source) -> Verdict {
    judge(args, Rule::Exact, redis, cairn, source)
}

fn judge(args: &[Vec<u8>], rule: Rule, redis: &Reply, cairn: &Reply, source: Source) -> Verdict {
    if redis == cairn {
        return Verdict::Same;
    }
    let (redis, cairn) = (reduced(rule, args, redis), reduced(rule, args, cairn));
    if redis == cairn || is_near(rule, &redis, &cairn) {
        return Verdict::Same;
    }
    known::find(&Case { args, redis: &redis, cairn: &cairn }, source).map_or(Verdict::Differs, Verdict::Known)
}

fn is_near(rule: Rule, redis: &Reply, cairn: &Reply) -> bool {
    match (rule, redis, cairn) {
        (Rule::Near(apart), Reply::Integer(redis), Reply::Integer(cairn)) => {
            // -1 and -2 are no times.
            *redis >= 0 && *cairn >= 0 && redis.abs_diff(*cairn) <= apart
        }
        _ => false,
    }
}

/// The reply without what is not compared.
fn reduced(rule: Rule, args: &[Vec<u8>], reply: &Reply) -> Reply {
    let reply = reply.clone();
    match rule {
        _ if matches!(reply, Reply::Error(_)) => reply,
        Rule::Exact | Rule::Near(_) => reply,
        Rule::AnyOrder => sorted(reply),
        Rule::AnyOrderWithin => sorted_within(reply),
        Rule::AnyOrderOfPairs => sorted_pairs(reply),
        Rule::Shape => masked(reply),
        Rule::Type => Reply::Masked(kind_of(&reply).into()),
        Rule::Scan | Rule::ScanOfPairs => {
            let begins = args[1..].iter().take(2).any(|arg| arg == b"0");
            let takes_all = begins && args.iter().any(|arg| arg.len() == 6 && arg.starts_with(b"10000"));
            match reply {
                Reply::Array(items) if takes_all && items.len() == 2 => {
                    let mut items = items.into_iter();
                    let cursor = items.next().expect("there are two");
                    let found = items.next().expect("there are two");
                    let found = if rule == Rule::Scan { sorted(found) } else { sorted_pairs(found) };
                    Reply::Array(vec![cursor, found])
                }
                other => Reply::Masked(kind_of(&other).into()),
            }
        }
        Rule::Pending => match reply {
            Reply::Array(entries) => Reply::Array(entries.into_iter().map(without_age).collect()),
            other => other,
        },
        Rule::Idle => without_times(reply),
    }
}

/// Of what type a reply is, in words.
pub fn kind_of(reply: &Reply) -> &'static str {
    match reply {
        Reply::Integer(_) => "an integer",
        Reply::Bulk(_) | Reply::Verbatim(..) => "a bulk string",
        Reply::Simple(_) => "a simple string",
        Reply::Error(_) => "an error",
        Reply::Nil | Reply::NilBulk | Reply::NilArray => "null",
        Reply::Map(_) => "a map",
        _ => "an aggregate or another type",
    }
}

fn sorted(reply: Reply) -> Reply {
    match reply {
        Reply::Array(mut items) => {
            items.sort();
            Reply::Array(items)
        }
        Reply::Set(mut items) => {
            items.sort();
            Reply::Set(items)
        }
        other => other,
    }
}

fn sorted_within(reply: Reply) -> Reply {
    let all = |items: Vec<Reply>| items.into_iter().map(sorted_within).collect();
    match reply {
        Reply::Array(items) => sorted(Reply::Array(all(items))),
        Reply::Set(items) => sorted(Reply::Set(all(items))),
        Reply::Map(pairs) => {
            Reply::Map(pairs.into_iter().map(|(name, value)| (name, sorted_within(value))).collect())
        }
        other => other,
    }
}

fn sorted_pairs(reply: Reply) -> Reply {
    match reply {
        Reply::Map(mut pairs) => {
            pairs.sort();
            Reply::Map(pairs)
        }
        // Of RESP3: each pair is an array.
        Reply::Array(items) if items.iter().any(|item| matches!(item, Reply::Array(_))) => {
            sorted(Reply::Array(items))
        }
        Reply::Array(items) => {
            let mut pairs: Vec<_> = items.chunks(2).map(<[Reply]>::to_vec).collect();
            pairs.sort();
            Reply::Array(pairs.concat())
        }
        other => other,
    }
}

fn masked(reply: Reply) -> Reply {
    reply.map_leaves(&mut |leaf| match leaf {
        Reply::Bulk(_) | Reply::Integer(_) | Reply::Double(_) => Reply::Masked(kind_of(&leaf).into()),
        other => other,
    })
}

/// `[id, consumer, milliseconds, deliveries]`.
fn without_age(entry: Reply) -> Reply {
    match entry {
        Reply::Array(mut fields) if fields.len() == 4 => {
            fields[2] = masked(fields.swap_remove(2));
            Reply::Array(fields)
        }
        other => other,
    }
}

/// Fields of XINFO that name a time, and entries of a list of pending ones within it.
const TIMES: &[&[u8]] = &[b"idle", b"inactive", b"seen-time", b"active-time"];

fn without_times(reply: Reply) -> Reply {
    let is_time = |name: &Reply| matches!(name, Reply::Bulk(name) if TIMES.contains(&name.as_slice()));
    let is_pending = |name: &Reply| matches!(name, Reply::Bulk(name) if name == b"pel" || name == b"pending");
    let field = |name: &Reply, value: Reply| match value {
        value if is_time(name) => masked(value),
        Reply::Array(entries) if is_pending(name) => {
            // Of a group: id, consumer, time, deliveries; of a consumer: id, time, deliveries.
            Reply::Array(
                entries
                    .into_iter()
                    .map(|entry| match entry {
                        Reply::Array(mut fields) if fields.len() >= 3 => {
                            let time = fields.len() - 2;
                            fields[time] = Reply::Masked("a time".into());
                            Reply::Array(fields)
                        }
                        other => other,
                    })
                    .collect(),
            )
        }
        other => without_times(other),
    };
    match reply {
        Reply::Map(pairs) => Reply::Map(
            pairs
                .into_iter()
                .map(|(name, value)| {
                    let value = field(&name, value);
                    (name, value)
                })
                .collect(),
        ),
        Reply::Array(items) => {
            // Of RESP2: names and values in turn. Where it is no such list, no element is one of the names.
            let mut result: Vec<Reply> = Vec::with_capacity(items.len());
            for item in items {
                let item = match result.last() {
                    Some(name) if is_time(name) || is_pending(name) => field(&name.clone(), item),
                    _ => without_times(item),
                };
                result.push(item);
            }
            Reply::Array(result)
        }
        other => other,
    }
}
