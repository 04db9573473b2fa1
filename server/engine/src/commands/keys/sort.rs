//! SORT and SORT_RO: the elements of a list, set or sorted set in the order of their values, or of values that they
//! name.
//!
//! The keys that BY and GET read are made of the elements: nobody knows them before the command runs. So they are
//! looked after one by one ([`prepare_undeclared`]), and what STORE makes is logged as a list of its own.

use std::cmp::Ordering;

use cairn_proto::ReplyWriter;

use crate::args::{Args, parse_f64};
use crate::command::{COMMAND, Category, Command, Flag, KeyAccess, Keys, OVERWRITE, READ};
use crate::commands::server::is_redis_cluster;
use crate::context::Context;
use crate::dispatch::prepare_undeclared;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Keyspace;
use crate::notify::Class;
use crate::types::{Elem, List, ListLimits, Str};
use crate::value::Value;

pub(super) static SORT: Command = Command {
    name: "sort",
    flags: &[Flag::Write, Flag::DenyOom, Flag::MovableKeys],
    keys: &[Keys::at(1, READ), Keys::unknown(READ), Keys::unknown(OVERWRITE)],
    find_keys: Some(find_keys),
    summary: "Sorts the elements of a list, set or sorted set; returns or stores them, or what they stand for.",
    syntax: "key [BY by-pattern:pattern] [LIMIT offset:integer count:integer] [GET get-pattern:pattern \
             [GET get-pattern:pattern ...]] [ASC | DESC] [ALPHA] [STORE destination:key]",
    run: |cx, args| sort(cx, args, true),
    ..EITHER
};

pub(super) static SORT_RO: Command = Command {
    name: "sort_ro",
    since: "7.0.0",
    flags: &[Flag::ReadOnly, Flag::MovableKeys],
    keys: &[Keys::at(1, READ), Keys::unknown(READ)],
    find_keys: Some(|_, found| found(1, READ)),
    summary: "Sorts the elements of a list, set or sorted set; returns them, or what they stand for.",
    syntax: "key [BY by-pattern:pattern] [LIMIT offset:integer count:integer] [GET get-pattern:pattern \
             [GET get-pattern:pattern ...]] [ASC | DESC] [ALPHA]",
    run: |cx, args| sort(cx, args, false),
    ..EITHER
};

/// What both have in common.
const EITHER: Command = Command {
    arity: -2,
    categories: &[Category::Set, Category::SortedSet, Category::List, Category::Dangerous],
    complexity: "O(N + M*log(M)) with N the number of elements and M the number returned; O(N) when nothing is sorted",
    ..COMMAND
};

/// The key that is sorted, and the last destination: the one that counts.
fn find_keys(args: Args<'_>, found: &mut dyn FnMut(usize, KeyAccess)) {
    found(1, READ);
    let mut destination = None;
    let mut i = 2;
    while i < args.len() {
        if args.is(i, "LIMIT") {
            i += 2;
        } else if args.is(i, "GET") || args.is(i, "BY") {
            i += 1;
        } else if args.is(i, "STORE") && i + 1 < args.len() {
            i += 1;
            destination = Some(i);
        }
        i += 1;
    }
    if let Some(at) = destination {
        found(at, OVERWRITE);
    }
}

/// The options as they were given.
#[derive(Default)]
struct Options<'a> {
    descending: bool,
    alpha: bool,
    /// LIMIT: where to begin, and how many (negative: all).
    limit: Option<(i64, i64)>,
    by: Option<Pattern<'a>>,
    /// A BY without `*`: the elements stay in the order in which they are stored.
    keep_order: bool,
    get: Vec<Pattern<'a>>,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, may_store: bool, in_cluster: bool, reads_all: bool) -> CommandResult<Self> {
        let mut options = Self::default();
        let mut i = 2;
        while i < args.len() {
            let left = args.len() - i - 1;
            if args.is(i, "ASC") {
                options.descending = false;
            } else if args.is(i, "DESC") {
                options.descending = true;
            } else if args.is(i, "ALPHA") {
                options.alpha = true;
            } else if args.is(i, "LIMIT") && left >= 2 {
                options.limit = Some((args.int(i + 1)?, args.int(i + 2)?));
                i += 2;
            } else if args.is(i, "STORE") && left >= 1 && may_store {
                options.store = Some(args.at(i + 1));
                i += 1;
            } else if args.is(i, "BY") && left >= 1 {
                let pattern = args.at(i + 1);
                if !pattern.contains(&b'*') {
                    options.keep_order = true;
                } else if in_cluster {
                    return Err("ERR BY option of SORT denied in Cluster mode.".into());
                } else if !reads_all {
                    return Err("ERR BY option of SORT denied due to insufficient ACL permissions.".into());
                }
                options.by = Some(Pattern::parse(pattern));
                i += 1;
            } else if args.is(i, "GET") && left >= 1 {
                if in_cluster {
                    return Err("ERR GET option of SORT denied in Cluster mode.".into());
                }
                if !reads_all {
                    return Err("ERR GET option of SORT denied due to insufficient ACL permissions.".into());
                }
                options.get.push(Pattern::parse(args.at(i + 1)));
                i += 1;
            } else {
                return Err(CommandError::Syntax);
            }
            i += 1;
        }
        Ok(options)
    }

    /// Which of `len` elements are wanted: the first one's place and how many.
    fn range(&self, len: usize) -> (usize, usize) {
        let (offset, count) = self.limit.unwrap_or((0, -1));
        let start = usize::try_from(offset).unwrap_or(0).min(len);
        (start, usize::try_from(count).unwrap_or(usize::MAX).min(len - start))
    }
}

/// What an element stands for.
enum Pattern<'a> {
    /// `#`: itself.
    Element,
    /// No `*`: nothing.
    Constant,
    /// The string at `before`, element, `after`; or a field of the hash there.
    Key { before: &'a [u8], after: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    fn parse(pattern: &'a [u8]) -> Self {
        if pattern == b"#" {
            return Self::Element;
        }
        let Some(star) = pattern.iter().position(|&byte| byte == b'*') else { return Self::Constant };
        let (before, after) = (&pattern[..star], &pattern[star + 1..]);
        let arrow = after.windows(2).position(|pair| pair == b"->");
        // An arrow at the very end is part of the key's name.
        match arrow.filter(|at| at + 2 < after.len()) {
            Some(at) => Self::Key { before, after: &after[..at], field: Some(&after[at + 2..]) },
            None => Self::Key { before, after, field: None },
        }
    }

    /// Calls `read` with what `element` stands for.
    fn look_up<R>(
        &self,
        cx: &mut Context<'_>,
        element: &Elem<'_>,
        read: impl FnOnce(Found<'_>, &mut ReplyWriter) -> R,
    ) -> R {
        match *self {
            Self::Element => read(Found::Elem(*element), cx.reply),
            Self::Constant => read(Found::Nothing, cx.reply),
            Self::Key { before, after, field } => {
                let name = element.with_bytes(|bytes| [before, bytes, after].concat());
                prepare_undeclared(cx, &name);
                read(Found::at(cx.keys, &name, field), cx.reply)
            }
        }
    }
}

/// What an element stands for, where it lies.
enum Found<'k> {
    Nothing,
    Elem(Elem<'k>),
    Str(&'k Str),
}

impl<'k> Found<'k> {
    fn at(keys: &'k Keyspace, name: &[u8], field: Option<&[u8]>) -> Self {
        match (keys.get(name), field) {
            (Some(Value::Str(string)), None) => Self::Str(string),
            (Some(Value::Hash(hash)), Some(field)) => hash.get(field).map_or(Self::Nothing, Self::Elem),
            _ => Self::Nothing,
        }
    }

    /// The text; `None`: there is nothing.
    fn text(&self) -> Option<Vec<u8>> {
        match self {
            Self::Nothing => None,
            Self::Elem(elem) => Some(elem.to_vec()),
            Self::Str(string) => Some(string.to_vec()),
        }
    }

    /// The number; 0 when there is nothing, `None` when it is none.
    fn score(&self) -> Option<f64> {
        match self {
            Self::Nothing => Some(0.0),
            Self::Elem(Elem::Int(value)) => Some(*value as f64),
            Self::Elem(elem) => elem.with_bytes(parse_score),
            Self::Str(string) => string.with_bytes(parse_score),
        }
    }

    fn reply(&self, reply: &mut ReplyWriter) {
        match self {
            Self::Nothing => reply.null(),
            Self::Elem(elem) => elem.reply(reply),
            Self::Str(string) => string.reply(reply),
        }
    }
}

/// A number as C's `strtod` takes it: after blanks, up to the first NUL; nothing at all is 0. What is too small for all
/// its digits is none here, for that is when `strtod` reports ERANGE.
fn parse_score(bytes: &[u8]) -> Option<f64> {
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    match text {
        [] => Some(0.0),
        text => parse_f64(text.trim_ascii_start()).filter(|score| !score.is_subnormal()),
    }
}

/// An element and what it is sorted by.
struct Item<'a> {
    element: Elem<'a>,
    weight: Weight,
}

enum Weight {
    Score(f64),
    /// ALPHA without BY: by itself.
    Own,
    Text(Option<Vec<u8>>),
}

fn compare(a: &Item<'_>, b: &Item<'_>) -> Ordering {
    match (&a.weight, &b.weight) {
        (Weight::Score(x), Weight::Score(y)) => {
            x.partial_cmp(y).unwrap_or(Ordering::Equal).then_with(|| compare_elements(&a.element, &b.element))
        }
        // A missing one comes first.
        (Weight::Text(x), Weight::Text(y)) => x.cmp(y),
        _ => compare_elements(&a.element, &b.element),
    }
}

fn compare_elements(a: &Elem<'_>, b: &Elem<'_>) -> Ordering {
    let (mut left, mut right) = (itoa::Buffer::new(), itoa::Buffer::new());
    a.to_bytes(&mut left).cmp(b.to_bytes(&mut right))
}

fn sort(cx: &mut Context<'_>, args: Args<'_>, may_store: bool) -> CommandResult {
    let options = Options::parse(args, may_store, is_redis_cluster(cx.host), cx.may_read_all_keys())?;
    // A clone shares the elements, and keeps them while keys that have expired go.
    let source = cx.keys.get(args.at(1)).cloned();
    let elements = match &source {
        None => Vec::new(),
        Some(value) => sorted(cx, value, &options)?,
    };
    match options.store {
        None => {
            reply_elements(cx, &options, &elements);
            Ok(())
        }
        Some(destination) => {
            store(cx, &options, &elements, destination);
            Ok(())
        }
    }
}

/// The wanted elements in their order.
fn sorted<'v>(cx: &mut Context<'_>, value: &'v Value, options: &Options<'_>) -> CommandResult<Vec<Elem<'v>>> {
    let mut by = options.by.as_ref();
    let (mut alpha, mut keep_order) = (options.alpha, options.keep_order);
    if keep_order && matches!(value, Value::Set(_)) && (options.store.is_some() || cx.mode.in_script) {
        // What a set's own order is depends on its history, and must not get into data or scripts.
        (by, alpha, keep_order) = (None, true, false);
    }
    if keep_order {
        return in_own_order(value, options);
    }
    let elements: Vec<Elem<'v>> = match value {
        Value::List(list) => list.iter().collect(),
        Value::Set(set) => set.iter().collect(),
        Value::Zset(zset) => zset.iter().map(|(member, _)| member).collect(),
        _ => return Err(CommandError::WrongType),
    };
    let mut items = Vec::with_capacity(elements.len());
    for element in elements {
        let weight = match (alpha, by) {
            (true, None) => Weight::Own,
            (true, Some(by)) => Weight::Text(by.look_up(cx, &element, |found, _| found.text())),
            (false, by) => {
                let score = by.unwrap_or(&Pattern::Element).look_up(cx, &element, |found, _| found.score());
                Weight::Score(score.ok_or(NOT_A_NUMBER)?)
            }
        };
        items.push(Item { element, weight });
    }
    if options.descending {
        items.sort_by(|a, b| compare(b, a));
    } else {
        items.sort_by(compare);
    }
    let (start, count) = options.range(items.len());
    Ok(items[start..start + count].iter().map(|item| item.element).collect())
}

const NOT_A_NUMBER: CommandError = CommandError::new("ERR One or more scores can't be converted into double");

/// The wanted elements in the order in which they are stored: of lists and sorted sets also backwards.
fn in_own_order<'v>(value: &'v Value, options: &Options<'_>) -> CommandResult<Vec<Elem<'v>>> {
    Ok(match value {
        Value::List(list) => {
            let (start, count) = options.range(list.len());
            if count == 0 {
                Vec::new()
            } else if options.descending {
                list.range_back(list.len() - 1 - start, count).collect()
            } else {
                list.range(start, count).collect()
            }
        }
        Value::Zset(zset) => {
            let (start, count) = options.range(zset.len());
            let ranks = match options.descending {
                true => zset.len() - start - count..zset.len() - start,
                false => start..start + count,
            };
            zset.range(ranks, options.descending).map(|(member, _)| member).collect()
        }
        Value::Set(set) => {
            let (start, count) = options.range(set.len());
            set.iter().skip(start).take(count).collect()
        }
        _ => return Err(CommandError::WrongType),
    })
}

fn reply_elements(cx: &mut Context<'_>, options: &Options<'_>, elements: &[Elem<'_>]) {
    cx.reply.array(elements.len() * options.get.len().max(1));
    for element in elements {
        if options.get.is_empty() {
            element.reply(cx.reply);
        }
        for pattern in &options.get {
            pattern.look_up(cx, element, |found, reply| found.reply(reply));
        }
    }
}

/// Makes a list of them at `destination`, in place of whatever was there.
fn store(cx: &mut Context<'_>, options: &Options<'_>, elements: &[Elem<'_>], destination: &[u8]) {
    let mut texts: Vec<Vec<u8>> = Vec::with_capacity(elements.len() * options.get.len().max(1));
    for element in elements {
        if options.get.is_empty() {
            texts.push(element.to_vec());
        }
        for pattern in &options.get {
            texts.push(pattern.look_up(cx, element, |found, _| found.text()).unwrap_or_default());
        }
    }
    cx.reply.int(texts.len() as i64);
    if texts.is_empty() {
        cx.delete_key(destination, Class::Generic, "del");
        return;
    }
    let limits = ListLimits { plain_min: cx.shared.list_plain_min, ..ListLimits::new(cx.config()) };
    let list = List::from_elements(texts.iter().map(Vec::as_slice), &limits);
    let new = cx.keys.set(destination, Value::List(list));
    cx.changed(destination, Class::List, "sortstore");
    cx.shared.effects.add_dirty(texts.len() as u64 - 1);
    if !new {
        cx.log(&[b"DEL", destination]);
    }
    let mut effect: Vec<&[u8]> = vec![b"RPUSH", destination];
    effect.extend(texts.iter().map(Vec::as_slice));
    cx.log(&effect);
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use super::*;
    use crate::testing::{TestEngine, three_nodes};

    #[test]
    fn numbers_are_read_as_strtod_reads_them() {
        for (text, expected) in [
            (b"".as_slice(), Some(0.0)),
            (b" \t1.5", Some(1.5)),
            (b"1 ", None),
            (b" ", None),
            (b"2\0rest", Some(2.0)),
            (b"nan", None),
            (b"5e-324", None),
            (b"-inf", Some(f64::NEG_INFINITY)),
        ] {
            assert_eq!(parse_score(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_stored_is_logged_as_the_list_that_it_is() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "SADD s 3 1 2");
        server.run(a, "MSET w1 9 w2 8 w3 7");
        assert_eq!(server.effects_of(a, "SORT s BY w* STORE d"), ["RPUSH d 3 2 1"]);
        assert_eq!(server.effects_of(a, "SORT s GET w* GET x* STORE d"), ["DEL d", "RPUSH d 9  8  7 "]);
        assert_eq!(server.effects_of(a, "SORT none STORE d"), ["DEL d"]);
        assert_eq!(server.effects_of(a, "SORT none STORE d"), [""; 0]);
        assert_eq!(server.effects_of(a, "SORT s"), [""; 0]);
    }

    #[test]
    fn a_weight_that_has_expired_is_none_and_its_removal_is_an_effect() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "RPUSH l 1 2");
        server.run(a, "SET w1 5 PX 10");
        server.run(a, "SET w2 1");
        assert_eq!(server.run(a, "SORT l BY w*"), "*2\r\n$1\r\n2\r\n$1\r\n1\r\n");
        server.now_ms += 20;
        assert_eq!(server.effects_of(a, "SORT l BY w*"), ["DEL w1"]);
        assert_eq!(server.run(a, "SORT l BY w*"), "*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    }

    #[test]
    fn the_reply_waits_for_the_weights_that_it_rests_on() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(a, "RPUSH l 1 2");
        server.run(a, "MSET w1 1 w2 2");
        server.send_held(a, &[b"SET", b"w1", b"3"]);
        server.send_held(b, &[b"SORT", b"l", b"BY", b"w*"]);
        assert_eq!(server.output(b), b"");
        server.release();
        assert_eq!(server.output(b), b"*2\r\n$1\r\n2\r\n$1\r\n1\r\n");
    }

    #[test]
    fn the_order_of_a_set_does_not_get_into_a_script() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "SADD s c a b");
        let script = b"return redis.call('sort', 's', 'by', 'nosort')";
        let reply = server.send(a, &[b"EVAL", script, b"0"]);
        assert_eq!(reply, b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n");
    }

    #[test]
    fn in_a_redirecting_cluster_patterns_are_denied() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "RPUSH l 2 1");
        let mut view = three_nodes(0, Some(0));
        view.redirect = true;
        server.host.show(view);
        assert_eq!(server.run(a, "SORT l BY w*"), "-ERR BY option of SORT denied in Cluster mode.\r\n");
        assert_eq!(server.run(a, "SORT l GET #"), "-ERR GET option of SORT denied in Cluster mode.\r\n");
        assert_eq!(server.run(a, "SORT l BY x"), "*2\r\n$1\r\n2\r\n$1\r\n1\r\n");
    }
}
