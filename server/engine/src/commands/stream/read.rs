//! XREAD and XREADGROUP.
//!
//! The effect of XREADGROUP is XREADGROUP itself, without BLOCK and with the time in a private option `TIME`: on
//! the same stream and group it delivers the same entries, so that a call costs the log one line, however many
//! entries it delivers.

use cairn_proto::{ReplyWriter, Resp};

use super::{error_with, parse_id, reply_entries, reply_entry, reply_id};
use crate::args::Args;
use crate::client::{BlockKind, TimeoutReply};
use crate::command::{COMMAND, Command, Flag, Group as Family, Keys, READ};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::types::stream::{ConsumerId, Entries, Group, IdText, Nack, StreamId};
use crate::value::Value;

/// Streams whose ids are kept on the stack.
const STREAMS_INLINE: usize = 8;

pub(super) static XREAD: Command = Command {
    name: "xread",
    arity: -4,
    group: Family::Stream,
    since: "5.0.0",
    flags: &[Flag::Blocking, Flag::ReadOnly, Flag::MovableKeys],
    keys: &[Keys::after("STREAMS", 1, -1, 2, READ)],
    summary: "Returns the entries of streams after given ids; waits for some if there are none.",
    complexity: "O(log N + M) for each stream, with M entries returned",
    syntax: "[COUNT count:integer] [BLOCK milliseconds:integer] STREAMS key [key ...] id:string [id:string ...]",
    run: xread,
    ..COMMAND
};

pub(super) static XREADGROUP: Command = Command {
    name: "xreadgroup",
    arity: -7,
    group: Family::Stream,
    since: "5.0.0",
    flags: &[Flag::Blocking, Flag::Write, Flag::MovableKeys],
    keys: &[Keys::after("STREAMS", 4, -1, 2, READ)],
    summary: "Gives a consumer of a group entries that no other was given, or its own pending ones again.",
    complexity: "O(log N + M log P) for each stream, with M entries returned and P pending",
    syntax: "GROUP group:string consumer:string [COUNT count:integer] [BLOCK milliseconds:integer] [NOACK] \
             STREAMS key [key ...] id:string [id:string ...]",
    run: xreadgroup,
    ..COMMAND
};

struct Options<'a> {
    /// 0: no limit.
    count: usize,
    /// BLOCK was given, and until when.
    block: Option<Option<i64>>,
    group: Option<(&'a [u8], &'a [u8])>,
    no_ack: bool,
    /// The time of an effect.
    time_ms: Option<i64>,
    keys: &'a [&'a [u8]],
    ids: &'a [&'a [u8]],
}

fn parse_options<'a>(cx: &Context<'_>, args: Args<'a>, grouped: bool) -> CommandResult<Options<'a>> {
    let mut options =
        Options { count: 0, block: None, group: None, no_ack: false, time_ms: None, keys: &[], ids: &[] };
    let mut at = 1;
    while at < args.len() {
        let more = args.len() - 1 - at;
        if more > 0 && args.is(at, "block") {
            let ms = args
                .int(at + 1)
                .map_err(|_| CommandError::new("ERR timeout is not an integer or out of range"))?;
            options.block = Some(cx.deadline_after(ms)?);
            at += 1;
        } else if more > 0 && args.is(at, "count") {
            options.count = args.int(at + 1)?.max(0) as usize;
            at += 1;
        } else if more > 0 && args.is(at, "streams") {
            let rest = args.from(at + 1);
            if rest.len() % 2 == 1 {
                let (name, symbol) = if grouped { ("xreadgroup", '>') } else { ("xread", '$') };
                return Err(format!(
                    "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be \
                     specified."
                )
                .into());
            }
            (options.keys, options.ids) = rest.split_at(rest.len() / 2);
            break;
        } else if more > 1 && args.is(at, "group") {
            if !grouped {
                return Err(
                    "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.".into(),
                );
            }
            options.group = Some((args[at + 1], args[at + 2]));
            at += 2;
        } else if args.is(at, "noack") {
            if !grouped {
                return Err(
                    "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.".into(),
                );
            }
            options.no_ack = true;
        } else if more > 0 && cx.mode.applying && args.is(at, "time") {
            options.time_ms = Some(args.int(at + 1)?);
            at += 1;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    if options.keys.is_empty() {
        return Err(CommandError::Syntax);
    }
    if grouped && options.group.is_none() {
        return Err("ERR Missing GROUP option for XREADGROUP".into());
    }
    Ok(options)
}

/// Ids of the streams named in one command, on the stack when they are few.
struct Ids {
    inline: [StreamId; STREAMS_INLINE],
    heap: Vec<StreamId>,
    len: usize,
}

impl Ids {
    fn new() -> Self {
        Self { inline: [StreamId::MIN; STREAMS_INLINE], heap: Vec::new(), len: 0 }
    }

    fn push(&mut self, id: StreamId) {
        match self.inline.get_mut(self.len) {
            Some(slot) => *slot = id,
            None => self.heap.push(id),
        }
        self.len += 1;
    }

    fn at(&self, i: usize) -> StreamId {
        match self.inline.get(i) {
            Some(&id) => id,
            None => self.heap[i - STREAMS_INLINE],
        }
    }
}

fn xread(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let options = parse_options(cx, args, false)?;
    let mut ids = Ids::new();
    for (&key, &arg) in options.keys.iter().zip(options.ids) {
        ids.push(resolve_id(cx, key, arg)?);
    }
    let reply = cx.reply.defer();
    let mut served = 0;
    for (i, &key) in options.keys.iter().enumerate() {
        let Some(value) = cx.keys.peek(key) else { continue };
        let entries = &value.as_stream()?.entries;
        let after = ids.at(i);
        // The first look is enough almost always, and cheap.
        if entries.last_id() <= after || entries.last_entry_id().is_none_or(|last| last <= after) {
            continue;
        }
        let Some(start) = after.next() else { continue };
        begin_stream(cx.reply, key);
        reply_entries(cx.reply, entries.range(start, StreamId::MAX, false), options.count);
        served += 1;
    }
    if served > 0 {
        finish_streams(cx.reply, reply, served);
        return Ok(());
    }
    let Some(deadline_ms) = options.block.filter(|_| cx.may_block()) else {
        cx.reply.null_array();
        return Ok(());
    };
    if !options.ids.contains(&&b"$"[..]) {
        cx.block_on_keys(options.keys, BlockKind::Stream, deadline_ms, TimeoutReply::NullArray);
        return Ok(());
    }
    // `$` is what the last id is now, not when the command runs again.
    let texts: Vec<IdText> = (0..options.ids.len()).map(|i| ids.at(i).text()).collect();
    let mut again = args.as_slice().to_vec();
    let first_id = again.len() - options.ids.len();
    for (arg, text) in again[first_id..].iter_mut().zip(&texts) {
        if *arg == b"$" {
            *arg = text;
        }
    }
    cx.block_on_keys_as(
        Args::new(&again),
        options.keys,
        BlockKind::Stream,
        deadline_ms,
        TimeoutReply::NullArray,
    );
    Ok(())
}

/// The id after which XREAD reads the stream at `key`.
fn resolve_id(cx: &mut Context<'_>, key: &[u8], arg: &[u8]) -> CommandResult<StreamId> {
    let stream = cx.keys.get(key).map(Value::as_stream).transpose()?;
    let entries = stream.map(|stream| &stream.entries);
    match arg {
        b"$" => Ok(entries.map_or(StreamId::MIN, |entries| entries.last_id())),
        // The last entry itself, or the first to come.
        b"+" => Ok(entries.map_or(StreamId::MIN, |entries| match entries.last_entry_id() {
            Some(last) => last.previous().unwrap_or(StreamId::MIN),
            None => entries.last_id(),
        })),
        b">" => Err(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> \
                     option."
                .into(),
        ),
        _ => parse_id(arg),
    }
}

/// A stream's name, before its entries: half of a pair, or a key of RESP3's map.
fn begin_stream(reply: &mut ReplyWriter, key: &[u8]) {
    if reply.resp == Resp::V2 {
        reply.array(2);
    }
    reply.bulk(key);
}

fn finish_streams(reply: &mut ReplyWriter, place: cairn_proto::Deferred, streams: usize) {
    match reply.resp {
        Resp::V2 => reply.finish_array(place, streams),
        Resp::V3 => reply.finish_map(place, streams),
    }
}

/// From where a consumer reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// `>`: what no consumer of the group was given.
    New,
    /// Its own pending entries after this one.
    History(StreamId),
}

impl From {
    /// The last id there can be stands for `>`, as in Redis.
    fn id(id: StreamId) -> Self {
        if id == StreamId::MAX { Self::New } else { Self::History(id) }
    }
}

fn xreadgroup(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let options = parse_options(cx, args, true)?;
    let Some((group_name, consumer_name)) = options.group else {
        return Err(CommandError::Syntax);
    };
    let mut ids = Ids::new();
    for (&key, &arg) in options.keys.iter().zip(options.ids) {
        let group = match cx.keys.get(key) {
            Some(value) => value.as_stream()?.group(group_name),
            None => None,
        };
        if group.is_none() {
            return Err(error_with(&[
                b"NOGROUP No such key '",
                key,
                b"' or consumer group '",
                group_name,
                b"' in XREADGROUP with GROUP option",
            ]));
        }
        ids.push(match arg {
            b"$" | b"+" => return Err(meaningless_id(arg)),
            b">" => StreamId::MAX,
            _ => parse_id(arg)?,
        });
    }

    let now_ms = options.time_ms.unwrap_or(cx.now_ms());
    let place = cx.reply.defer();
    let fed = cx.shared.effects.is_fed();
    let mut served = 0;
    let mut any_changed = false;
    for (i, &key) in options.keys.iter().enumerate() {
        let Some(value) = cx.keys.get_mut(key) else { continue };
        let Some((group, entries)) = value.as_stream_mut()?.group_mut(group_name) else { continue };
        let (consumer, created) = group.find_or_create_consumer(consumer_name, now_ms);
        group.note_visit(consumer, now_ms, false);
        let told = fed.then(Vec::new);
        let mut visit =
            Visit { group, entries, consumer, now_ms, count: options.count, reply: cx.reply, told };
        let (mut news, mut again) = (false, false);
        match From::id(ids.at(i)) {
            From::New if visit.has_news() => {
                begin_stream(visit.reply, key);
                visit.deliver_news(options.no_ack);
                served += 1;
                news = true;
            }
            From::New => {}
            From::History(after) => {
                begin_stream(visit.reply, key);
                served += 1;
                again = visit.deliver_history(after);
            }
        }
        if let Some(told) = visit.told.take() {
            let seat = Seat { key, group: group_name, consumer: consumer_name };
            let standing = (visit.group.last_id, visit.group.entries_read);
            tell_read(cx, &seat, &told, now_ms, created, news.then_some(standing));
        }
        if created {
            cx.changed_unwatched(key, Some("xgroup-createconsumer"));
        }
        if news {
            cx.changed_unwatched(key, None);
        }
        if again {
            // That an entry was given out once more is kept, but is no reason for a snapshot.
            cx.changed_uncounted(key);
        }
        any_changed |= created || news || again;
    }
    if any_changed {
        log_read(cx, &options, now_ms);
    }
    if served > 0 {
        finish_streams(cx.reply, place, served);
        return Ok(());
    }
    match options.block.filter(|_| cx.may_block()) {
        Some(deadline_ms) => {
            cx.block_on_keys(options.keys, BlockKind::StreamGroup, deadline_ms, TimeoutReply::NullArray);
        }
        None => cx.reply.null_array(),
    }
    Ok(())
}

fn meaningless_id(id: &[u8]) -> CommandError {
    let id = char::from(id[0]);
    format!(
        "ERR The {id} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer \
         by specifying a proper ID, or use the > ID to get new messages. The {id} ID would just return an empty \
         result set."
    )
    .into()
}

/// The read as an effect: it can be made again, later and elsewhere, with the same outcome.
fn log_read(cx: &mut Context<'_>, options: &Options<'_>, now_ms: i64) {
    let Some((group, consumer)) = options.group else { return };
    let (mut count, mut time) = (itoa::Buffer::new(), itoa::Buffer::new());
    let mut argv: Vec<&[u8]> = Vec::with_capacity(10 + 2 * options.keys.len());
    argv.extend([b"XREADGROUP", &b"GROUP"[..], group, consumer]);
    if options.count > 0 {
        argv.extend([&b"COUNT"[..], count.format(options.count).as_bytes()]);
    }
    if options.no_ack {
        argv.push(b"NOACK");
    }
    argv.extend([&b"TIME"[..], time.format(now_ms).as_bytes(), b"STREAMS"]);
    argv.extend(options.keys);
    argv.extend(options.ids);
    cx.keep(&argv);
}

/// Who reads which stream.
struct Seat<'a> {
    key: &'a [u8],
    group: &'a [u8],
    consumer: &'a [u8],
}

/// Tells replicas of Redis's kind of a read, in Redis's words: which entries became or are the consumer's, how many times
/// delivered, and how far the group is if it moved. History that is read again counts as delivered there as well, of which
/// Redis says nothing.
fn tell_read(
    cx: &mut Context<'_>,
    seat: &Seat<'_>,
    entries: &[(StreamId, u64)],
    now_ms: i64,
    created: bool,
    moved: Option<(StreamId, Option<u64>)>,
) {
    let Seat { key, group, consumer } = *seat;
    let last_id = moved.map(|(id, _)| id.text());
    if created && entries.is_empty() {
        cx.tell_replicas(&[b"XGROUP", b"CREATECONSUMER", key, group, consumer]);
    }
    let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let time = time.format(now_ms).as_bytes();
    for (id, deliveries) in entries {
        let id = id.text();
        let count = count.format(*deliveries).as_bytes();
        let mut argv: Vec<&[u8]> = vec![b"XCLAIM", key, group, consumer, b"0", &id, b"TIME", time];
        argv.extend([b"RETRYCOUNT".as_slice(), count, b"FORCE", b"JUSTID"]);
        if let Some(last_id) = &last_id {
            argv.extend([b"LASTID".as_slice(), last_id]);
        }
        cx.tell_replicas(&argv);
    }
    if let (Some((_, read)), Some(last_id)) = (moved, &last_id) {
        let read = read.map_or(-1, |read| read as i64);
        cx.tell_replicas(&[
            b"XGROUP",
            b"SETID",
            key,
            group,
            last_id,
            b"ENTRIESREAD",
            count.format(read).as_bytes(),
        ]);
    }
}

/// One consumer reading one stream.
struct Visit<'a> {
    group: &'a mut Group,
    entries: &'a Entries,
    consumer: ConsumerId,
    now_ms: i64,
    count: usize,
    reply: &'a mut ReplyWriter,
    /// For replicas: what was delivered, and how many times by now.
    told: Option<Vec<(StreamId, u64)>>,
}

impl Visit<'_> {
    fn has_news(&self) -> bool {
        let last = self.group.last_id;
        self.entries.last_id() > last && self.entries.last_entry_id().is_some_and(|id| id > last)
    }

    fn deliver_news(&mut self, no_ack: bool) {
        let place = self.reply.defer();
        let mut len = 0;
        let start = self.group.last_id.next().unwrap_or(StreamId::MAX);
        for entry in self.entries.range(start, StreamId::MAX, false) {
            self.group.advance(self.entries, entry.id);
            reply_entry(self.reply, &entry);
            if !no_ack {
                let nack = Nack { consumer: self.consumer, delivered_at_ms: self.now_ms, deliveries: 1 };
                self.group.assign(entry.id, nack);
                if let Some(told) = &mut self.told {
                    told.push((entry.id, nack.deliveries));
                }
            }
            len += 1;
            if len == self.count {
                break;
            }
        }
        if !no_ack {
            self.group.note_visit(self.consumer, self.now_ms, true);
        }
        self.reply.finish_array(place, len);
    }

    /// True when it changed anything.
    fn deliver_history(&mut self, after: StreamId) -> bool {
        let pending = self.group.consumer(self.consumer).pending();
        let from = pending.upper_bound(&after);
        let limit = if self.count == 0 { usize::MAX } else { self.count };
        let ids: Vec<StreamId> = pending.iter_from_rank(from).take(limit).map(|(&id, ())| id).collect();
        self.reply.array(ids.len());
        let mut changed = false;
        for id in ids {
            match self.entries.get(id) {
                Some(entry) => {
                    reply_entry(self.reply, &entry);
                    self.group.redeliver(id, self.now_ms);
                    if let Some(told) = &mut self.told {
                        told.push((id, self.group.pending().get(&id).map_or(1, |nack| nack.deliveries)));
                    }
                    changed = true;
                }
                // It was taken out of the stream, and nobody has acknowledged it.
                None => {
                    self.reply.array(2);
                    reply_id(self.reply, id);
                    self.reply.null_array();
                }
            }
        }
        changed
    }
}
