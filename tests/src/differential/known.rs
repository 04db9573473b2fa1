//! Differences from redis-server that are meant, each with its reason: mostly that Cairn answers as Redis 7.2 does, and 7.0
//! otherwise. A run says how often each row was needed.

use crate::golden::{Reply, Source};

/// What a row is asked about.
pub struct Case<'a> {
    pub args: &'a [Vec<u8>],
    pub redis: &'a Reply,
    pub cairn: &'a Reply,
}

/// A kind of difference.
pub struct Known {
    pub why: &'static str,
    /// The commands that it occurs in; any, if there is none.
    commands: &'static [&'static str],
    /// Whether Redis 7.2 has the same difference.
    of_redis72: bool,
    explains: fn(&Case) -> bool,
}

/// All of them.
pub const KNOWN: &[Known] = &[
    Known {
        why: "7.2 writes a double with as few digits as tell it from others, and from there on with an exponent; 7.0 with seventeen",
        commands: &[],
        // Its algorithm, Grisu2, misses the shortest digits of one double in a thousand.
        of_redis72: true,
        explains: |case| {
            let has_scores = [&b"Z"[..], b"BZ", b"GEO"]
                .iter()
                .any(|start| case.args[0].to_ascii_uppercase().starts_with(start));
            has_scores && alike(case.redis, case.cairn, &is_same_double)
        },
    },
    Known {
        why: "7.2 keeps small lists and small sets of strings in a listpack",
        commands: &["OBJECT"],
        of_redis72: false,
        explains: |case| {
            let old = [bulk("quicklist"), bulk("hashtable")].contains(case.redis);
            old && *case.cairn == bulk("listpack")
        },
    },
    Known {
        why: "SCAN refuses types that no key can have, as Redis 8.0 does",
        commands: &["SCAN"],
        of_redis72: true,
        explains: |case| is_error(case.cairn, "ERR unknown type name '"),
    },
    Known {
        why: "XREAD takes + for the last entry, as in Redis 7.4",
        commands: &["XREAD"],
        of_redis72: true,
        explains: |case| {
            let refused = is_error(case.redis, "ERR Invalid stream ID specified as stream command argument");
            refused && case.args.iter().any(|arg| arg == b"+")
        },
    },
    Known {
        why: "7.2 tells a time-out that is too long from a negative one",
        commands: &[],
        of_redis72: false,
        explains: |case| {
            is_error(case.redis, "ERR timeout is negative")
                && is_error(case.cairn, "ERR timeout is out of range")
        },
    },
    Known {
        why: "7.2 names the command and the kind of id in this message",
        commands: &["XREAD", "XREADGROUP"],
        of_redis72: false,
        explains: |case| {
            let unbalanced = is_error(case.redis, "ERR Unbalanced XREAD list of streams");
            unbalanced && is_error(case.cairn, "ERR Unbalanced 'xread")
        },
    },
    Known {
        why: "7.2 answers PUBLISH before the client hears what it has published itself",
        commands: &["PUBLISH", "SPUBLISH"],
        of_redis72: false,
        explains: |case| match (case.redis, case.cairn) {
            (Reply::Array(redis), Reply::Array(cairn)) => {
                let is_answer = |reply: &&Reply| matches!(reply, Reply::Integer(_));
                let (answers, heard): (Vec<_>, Vec<_>) = redis.iter().partition(is_answer);
                (answers, heard) == cairn.iter().partition(is_answer)
            }
            _ => false,
        },
    },
    Known {
        why: "7.2 looks the command up before it counts the arguments",
        commands: &["COMMAND"],
        of_redis72: false,
        explains: |case| {
            let counted = is_error(case.redis, "ERR wrong number of arguments for 'command|getkeys");
            let looked_up = [
                "ERR The command has no key arguments",
                "ERR Invalid command specified",
                "ERR Invalid number of arguments specified",
            ];
            counted && looked_up.into_iter().any(|text| is_error(case.cairn, text))
        },
    },
    Known {
        why: "7.2 chooses an encoding by the number of arguments, even if they name a member twice",
        commands: &["OBJECT"],
        of_redis72: false,
        explains: |case| {
            let large = [bulk("skiplist"), bulk("hashtable")].contains(case.cairn);
            large && [bulk("listpack"), bulk("intset")].contains(case.redis)
        },
    },
    Known {
        why: "which function is named, of several that are there already, depends on the order of a hash table",
        commands: &["FUNCTION"],
        of_redis72: true,
        explains: |case| {
            let is_taken =
                |reply: &Reply| matches!(reply, Reply::Error(text) if text.ends_with(b" already exists"));
            let named = is_error(case.redis, "ERR Function ") && is_error(case.cairn, "ERR Function ");
            named && is_taken(case.redis) && is_taken(case.cairn)
        },
    },
    Known {
        why: "streams are no radix tree: radix-tree-nodes is what one of few keys would have",
        commands: &["XINFO"],
        of_redis72: true,
        explains: |case| {
            let rest = |reply| without_fields(reply, &["radix-tree-nodes"]);
            rest(case.redis) == rest(case.cairn)
        },
    },
    Known {
        why: "the lag of a group ignores what was deleted before the first entry that is left, as in Redis 8.0",
        commands: &["XINFO"],
        of_redis72: true,
        explains: |case| {
            let rest = |reply| without_fields(reply, &["radix-tree-nodes", "lag"]);
            rest(case.redis) == rest(case.cairn)
        },
    },
    Known {
        why: "arguments are checked before the key is looked up, as in Redis 8.0",
        commands: &["BITCOUNT", "BITPOS"],
        of_redis72: true,
        explains: |case| {
            let looked_up = matches!(case.redis, Reply::Integer(_)) || is_error(case.redis, "WRONGTYPE ");
            looked_up && is_error(case.cairn, "ERR ")
        },
    },
    Known {
        why: "7.2 makes a consumer known even if it gets no entry, and tells when it got the last one",
        commands: &["XINFO"],
        of_redis72: false,
        explains: |case| {
            let old = |reply| with_old_consumers(without_fields(reply, &["radix-tree-nodes", "lag"]));
            old(case.redis) == old(case.cairn)
        },
    },
    Known {
        why: "7.2 makes a consumer known even if it gets no entry, so that it is there already",
        commands: &["XGROUP"],
        of_redis72: false,
        explains: |case| {
            let creates = case.args.get(1).is_some_and(|arg| arg.eq_ignore_ascii_case(b"CREATECONSUMER"));
            creates && (case.redis, case.cairn) == (&Reply::Integer(1), &Reply::Integer(0))
        },
    },
];

/// The row that explains a difference from this server.
pub fn find(case: &Case, source: Source) -> Option<usize> {
    let is_named = |known: &Known| known.commands.is_empty() || is_one_of(case, known.commands);
    KNOWN.iter().position(|known| {
        is_named(known) && (known.explains)(case) && (known.of_redis72 || source == Source::Redis70)
    })
}

fn is_one_of(case: &Case, names: &[&str]) -> bool {
    names.iter().any(|name| case.args[0].eq_ignore_ascii_case(name.as_bytes()))
}

fn is_error(reply: &Reply, start: &str) -> bool {
    matches!(reply, Reply::Error(text) if text.starts_with(start.as_bytes()))
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

/// Whether the replies are equal but for leaves that `same` takes for the same.
fn alike(redis: &Reply, cairn: &Reply, same: &dyn Fn(&Reply, &Reply) -> bool) -> bool {
    let all =
        |a: &[Reply], b: &[Reply]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b, same));
    match (redis, cairn) {
        (Reply::Array(a), Reply::Array(b))
        | (Reply::Set(a), Reply::Set(b))
        | (Reply::Push(a), Reply::Push(b)) => all(a, b),
        (Reply::Map(a), Reply::Map(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| alike(&a.0, &b.0, same) && alike(&a.1, &b.1, same))
        }
        (a, b) => a == b || same(a, b),
    }
}

/// The same number written in another way.
fn is_same_double(redis: &Reply, cairn: &Reply) -> bool {
    let ((Reply::Bulk(redis), Reply::Bulk(cairn)) | (Reply::Double(redis), Reply::Double(cairn))) =
        (redis, cairn)
    else {
        return false;
    };
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<f64>().ok();
    number(redis).is_some() && number(redis) == number(cairn)
}

/// Maps, or lists of names and values in turn, without these fields, at any depth.
fn without_fields(reply: &Reply, names: &[&str]) -> Reply {
    let is_named = |reply: &Reply| names.iter().any(|name| *reply == bulk(name));
    match reply {
        Reply::Map(fields) => {
            let kept = fields.iter().filter(|(name, _)| !is_named(name));
            Reply::Map(kept.map(|(name, value)| (name.clone(), without_fields(value, names))).collect())
        }
        Reply::Array(items) => {
            let mut kept = Vec::with_capacity(items.len());
            let mut items = items.iter();
            while let Some(item) = items.next() {
                if is_named(item) {
                    items.next();
                } else {
                    kept.push(without_fields(item, names));
                }
            }
            Reply::Array(kept)
        }
        other => other.clone(),
    }
}

/// What XINFO says without `active-time`, without consumers of no entries and without how many consumers there are.
fn with_old_consumers(reply: Reply) -> Reply {
    let is = |reply: &Reply, name: &str| *reply == bulk(name);
    let is_empty_consumer = |reply: &Reply| {
        let pending = match reply {
            Reply::Map(fields) => fields
                .iter()
                .find(|(name, _)| is(name, "pel-count") || is(name, "pending"))
                .map(|(_, value)| value),
            Reply::Array(fields) => {
                let at = fields.iter().position(|name| is(name, "pel-count") || is(name, "pending"));
                at.and_then(|at| fields.get(at + 1))
            }
            _ => None,
        };
        // A group has these fields, too, and `last-delivered-id` besides.
        let is_group = match reply {
            Reply::Map(fields) => fields.iter().any(|(name, _)| is(name, "last-delivered-id")),
            Reply::Array(fields) => fields.iter().any(|name| is(name, "last-delivered-id")),
            _ => false,
        };
        !is_group && pending == Some(&Reply::Integer(0))
    };
    let count = |name: &Reply, value: Reply| match value {
        Reply::Integer(_) if is(name, "consumers") => Reply::Masked("some".into()),
        other => with_old_consumers(other),
    };
    match reply {
        Reply::Map(fields) => {
            let fields = fields.into_iter().filter(|(name, _)| !is(name, "active-time"));
            Reply::Map(fields.map(|(name, value)| (name.clone(), count(&name, value))).collect())
        }
        Reply::Array(items) => {
            let mut kept: Vec<Reply> = Vec::with_capacity(items.len());
            let mut items = items.into_iter();
            while let Some(item) = items.next() {
                if is(&item, "active-time") {
                    items.next();
                } else if !is_empty_consumer(&item) {
                    let item = match kept.last() {
                        Some(name) => count(&name.clone(), item),
                        None => with_old_consumers(item),
                    };
                    kept.push(item);
                }
            }
            Reply::Array(kept)
        }
        other => other,
    }
}
