//! XPENDING, XCLAIM, XAUTOCLAIM: entries that were delivered and not acknowledged.
//!
//! The effect of both ways to claim is an XCLAIM of just the entries that changed hands (or were dropped because
//! the stream has them no longer), with no idle time to pass and the time of delivery said outright.

use super::{error_with, no_group, parse_end, parse_id, parse_start, reply_entry, reply_id};
use crate::args::Args;
use crate::command::{COMMAND, Command, DELETE, Flag, Group as Family, Keys, READ, UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::types::stream::{ConsumerId, Entries, Entry, Group, IdText, Nack, StreamId};

/// Pending entries that XAUTOCLAIM looks at for each that it may claim.
const ATTEMPTS_PER_CLAIM: i64 = 10;
const AUTOCLAIM_COUNT_DEFAULT: i64 = 100;
const AUTOCLAIM_COUNT_MAX: i64 = i64::MAX / 16;

pub(super) static XPENDING: Command = Command {
    name: "xpending",
    arity: -3,
    group: Family::Stream,
    since: "5.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns what a consumer group was given and has not acknowledged.",
    complexity: "O(log N + M) with M entries looked at; the summary is O(C) with C consumers",
    syntax: "key group:string [[IDLE min-idle-time:integer] start:string end:string count:integer [consumer:string]]",
    tips: &["nondeterministic_output"],
    run: xpending,
    ..COMMAND
};

pub(super) static XCLAIM: Command = Command {
    name: "xclaim",
    arity: -6,
    group: Family::Stream,
    since: "5.0.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Hands pending entries over to a consumer.",
    complexity: "O(log P) for each id, with P pending entries",
    syntax: "key group:string consumer:string min-idle-time:string id:string [id:string ...] [IDLE ms:integer] \
             [TIME unix-time-milliseconds:unix-time] [RETRYCOUNT count:integer] [FORCE] [JUSTID] [LASTID lastid:string]",
    tips: &["nondeterministic_output"],
    run: xclaim,
    ..COMMAND
};

pub(super) static XAUTOCLAIM: Command = Command {
    name: "xautoclaim",
    arity: -6,
    group: Family::Stream,
    since: "6.2.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, DELETE)],
    summary: "Hands the next pending entries that nobody touched for a while over to a consumer.",
    complexity: "O(log P + N) with N entries looked at of P pending",
    syntax: "key group:string consumer:string min-idle-time:string start:string [COUNT count:integer] [JUSTID]",
    tips: &["nondeterministic_output"],
    run: xautoclaim,
    ..COMMAND
};

/// The extended form of XPENDING.
struct PendingRange<'a> {
    start: StreamId,
    end: StreamId,
    count: usize,
    min_idle_ms: i64,
    consumer: Option<&'a [u8]>,
}

fn parse_pending_range<'a>(args: Args<'a>) -> CommandResult<Option<PendingRange<'a>>> {
    if args.len() == 3 {
        return Ok(None);
    }
    if !(6..=9).contains(&args.len()) {
        return Err(CommandError::Syntax);
    }
    let mut min_idle_ms = 0;
    let mut at = 3;
    if args.is(3, "idle") {
        min_idle_ms = args.int(4)?;
        if args.len() < 8 {
            return Err(CommandError::Syntax);
        }
        at = 5;
    }
    let count = args.int(at + 2)?.max(0) as usize;
    let (start, end) = (parse_start(args[at])?, parse_end(args[at + 1])?);
    Ok(Some(PendingRange { start, end, count, min_idle_ms, consumer: args.get(at + 3).copied() }))
}

fn xpending(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, name) = (args.at(1), args.at(2));
    let range = parse_pending_range(args)?;
    let now_ms = cx.now_ms();
    let group = match cx.keys.get(key) {
        Some(value) => value.as_stream()?.group(name),
        None => None,
    };
    let group = group.ok_or_else(|| no_group(key, name))?;
    match range {
        None => reply_summary(cx.reply, group),
        Some(range) => reply_pending(cx.reply, group, &range, now_ms),
    }
    Ok(())
}

fn reply_summary(reply: &mut cairn_proto::ReplyWriter, group: &Group) {
    let pending = group.pending();
    reply.array(4);
    reply.int(pending.len() as i64);
    let (Some((&first, _)), Some((&last, _))) = (pending.first(), pending.last()) else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    reply_id(reply, first);
    reply_id(reply, last);
    let place = reply.defer();
    let mut busy = 0;
    for consumer in group.consumers().filter(|consumer| !consumer.pending().is_empty()) {
        reply.array(2);
        reply.bulk(&consumer.name);
        reply.bulk_int(consumer.pending().len() as i64);
        busy += 1;
    }
    reply.finish_array(place, busy);
}

fn reply_pending(reply: &mut cairn_proto::ReplyWriter, group: &Group, range: &PendingRange<'_>, now_ms: i64) {
    let place = reply.defer();
    let mut len = 0;
    let mut list = |id: StreamId, nack: &Nack| {
        let idle_ms = now_ms.saturating_sub(nack.delivered_at_ms);
        if range.min_idle_ms == 0 || idle_ms >= range.min_idle_ms {
            reply.array(4);
            reply_id(reply, id);
            reply.bulk(&group.consumer(nack.consumer).name);
            reply.int(idle_ms.max(0));
            reply.int(nack.deliveries as i64);
            len += 1;
        }
        len < range.count
    };
    if range.count > 0 {
        match range.consumer.map(|name| group.find_consumer(name)) {
            None => {
                group.pending().range(range.start..=range.end).all(|(&id, nack)| list(id, nack));
            }
            Some(Some(consumer)) => {
                let own = group.consumer(consumer).pending().range(range.start..=range.end);
                own.filter_map(|(id, ())| Some((*id, group.pending().get(id)?)))
                    .all(|(id, nack)| list(id, nack));
            }
            Some(None) => {}
        }
    }
    reply.finish_array(place, len);
}

/// The options of XCLAIM after the ids.
#[derive(Default)]
struct ClaimOptions {
    delivered_at_ms: Option<i64>,
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

fn parse_claim_options(args: Args<'_>, mut at: usize, now_ms: i64) -> CommandResult<ClaimOptions> {
    let mut options = ClaimOptions::default();
    while at < args.len() {
        let more = at + 1 < args.len();
        let int = |text| args.int(at + 1).map_err(|_| CommandError::new(text));
        if args.is(at, "force") {
            options.force = true;
        } else if args.is(at, "justid") {
            options.just_id = true;
        } else if more && args.is(at, "idle") {
            let idle_ms = int("ERR Invalid IDLE option argument for XCLAIM")?;
            options.delivered_at_ms = Some(now_ms.wrapping_sub(idle_ms));
            at += 1;
        } else if more && args.is(at, "time") {
            options.delivered_at_ms = Some(int("ERR Invalid TIME option argument for XCLAIM")?);
            at += 1;
        } else if more && args.is(at, "retrycount") {
            let count = int("ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
            options.deliveries = u64::try_from(count).ok();
            at += 1;
        } else if more && args.is(at, "lastid") {
            options.last_id = parse_id(args[at + 1])?;
            at += 1;
        } else {
            return Err(error_with(&[b"ERR Unrecognized XCLAIM option '", args[at], b"'"]));
        }
        at += 1;
    }
    Ok(options)
}

fn xclaim(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, name, consumer_name) = (args.at(1), args.at(2), args.at(3));
    let group = match cx.keys.get(key) {
        Some(value) => value.as_stream()?.group(name),
        None => None,
    };
    if group.is_none() {
        return Err(no_group(key, name));
    }
    let min_idle_ms =
        args.int(4).map_err(|_| CommandError::new("ERR Invalid min-idle-time argument for XCLAIM"))?.max(0);
    let now_ms = cx.now_ms();
    let ids_end = (5..args.len()).find(|&at| StreamId::parse(args[at], 0).is_none()).unwrap_or(args.len());
    let options = parse_claim_options(args, ids_end, now_ms)?;
    let delivered_at_ms = match options.delivered_at_ms {
        // An effect says exactly what happened; a client's clock may be off.
        Some(at_ms) if cx.obeys() || (0..=now_ms).contains(&at_ms) => at_ms,
        _ => now_ms,
    };

    let value = cx.keys.get_mut(key).ok_or_else(|| no_group(key, name))?;
    let (group, entries) = value.as_stream_mut()?.group_mut(name).ok_or_else(|| no_group(key, name))?;
    let last_id_moved = options.last_id > group.last_id;
    group.last_id = group.last_id.max(options.last_id);
    let entries_read = group.entries_read;
    let (consumer, created) = group.find_or_create_consumer(consumer_name, now_ms);
    group.note_visit(consumer, now_ms, false);
    let mut claim = Claim { group, entries, consumer, delivered_at_ms, now_ms };
    let mut claimed_or_dropped: Vec<&[u8]> = Vec::new();
    let place = cx.reply.defer();
    let mut len = 0;
    for &arg in &args[5..ids_end] {
        let id = parse_id(arg)?;
        let Some(entry) = entries.get(id) else {
            if claim.group.acknowledge(id) {
                claimed_or_dropped.push(arg);
            }
            continue;
        };
        let nack = claim.group.pending().get(&id).copied();
        if nack.is_none() && !options.force {
            continue;
        }
        if nack.is_some_and(|nack| !claim.idle_enough(&nack, min_idle_ms)) {
            continue;
        }
        let before = nack.map_or(1, |nack| nack.deliveries);
        let deliveries = options.deliveries.unwrap_or(before.wrapping_add(u64::from(!options.just_id)));
        claim.take(&entry, deliveries, options.just_id, cx.reply);
        claimed_or_dropped.push(arg);
        len += 1;
    }
    cx.reply.finish_array(place, len);

    if created {
        cx.changed_unwatched(key, Some("xgroup-createconsumer"));
    }
    let last_id = options.last_id.text();
    if !claimed_or_dropped.is_empty() {
        cx.changed_unwatched(key, None);
        cx.shared.effects.add_dirty(claimed_or_dropped.len() as u64 - 1);
        let last_id = last_id_moved.then_some(&*last_id);
        let options = Claimed { delivered_at_ms, options: &options, last_id };
        log_claim(cx, args, &claimed_or_dropped, options);
    } else {
        if created {
            cx.log(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer_name]);
        }
        if last_id_moved {
            cx.changed_unwatched(key, None);
            let read = entries_read.map_or(-1, |read| read as i64);
            let mut buffer = itoa::Buffer::new();
            let read = buffer.format(read).as_bytes();
            cx.log(&[b"XGROUP", b"SETID", key, name, &last_id, b"ENTRIESREAD", read]);
        }
    }
    Ok(())
}

/// A consumer taking over pending entries.
struct Claim<'a> {
    group: &'a mut Group,
    entries: &'a Entries,
    consumer: ConsumerId,
    delivered_at_ms: i64,
    now_ms: i64,
}

impl Claim<'_> {
    fn idle_enough(&self, nack: &Nack, min_idle_ms: i64) -> bool {
        min_idle_ms == 0 || self.now_ms.saturating_sub(nack.delivered_at_ms) >= min_idle_ms
    }

    fn take(
        &mut self,
        entry: &Entry<'_>,
        deliveries: u64,
        just_id: bool,
        reply: &mut cairn_proto::ReplyWriter,
    ) {
        let nack = Nack { consumer: self.consumer, delivered_at_ms: self.delivered_at_ms, deliveries };
        self.group.assign(entry.id, nack);
        self.group.note_visit(self.consumer, self.now_ms, true);
        if just_id {
            reply_id(reply, entry.id);
        } else {
            reply_entry(reply, entry);
        }
    }
}

/// How entries were claimed, for the effect.
struct Claimed<'a> {
    delivered_at_ms: i64,
    options: &'a ClaimOptions,
    last_id: Option<&'a [u8]>,
}

/// Writes down the XCLAIM that claims just these `ids`. `args` are those of an XCLAIM or an XAUTOCLAIM.
fn log_claim(cx: &mut Context<'_>, args: Args<'_>, ids: &[&[u8]], claimed: Claimed<'_>) {
    let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let mut argv: Vec<&[u8]> = Vec::with_capacity(ids.len() + 14);
    argv.extend([b"XCLAIM", args.at(1), args.at(2), args.at(3), b"0"]);
    argv.extend(ids);
    argv.extend([&b"TIME"[..], time.format(claimed.delivered_at_ms).as_bytes()]);
    if let Some(deliveries) = claimed.options.deliveries {
        argv.extend([&b"RETRYCOUNT"[..], count.format(deliveries).as_bytes()]);
    }
    if claimed.options.force {
        argv.push(b"FORCE");
    }
    if claimed.options.just_id {
        argv.push(b"JUSTID");
    }
    if let Some(id) = claimed.last_id {
        argv.extend([&b"LASTID"[..], id]);
    }
    cx.log(&argv);
}

fn xautoclaim(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, name, consumer_name) = (args.at(1), args.at(2), args.at(3));
    let min_idle_ms = args
        .int(4)
        .map_err(|_| CommandError::new("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?
        .max(0);
    let start = parse_start(args.at(5))?;
    let mut count = AUTOCLAIM_COUNT_DEFAULT;
    let mut just_id = false;
    let mut at = 6;
    while at < args.len() {
        if args.is(at, "count") && at + 1 < args.len() {
            count = crate::args::parse_i64(args[at + 1])
                .filter(|n| (1..=AUTOCLAIM_COUNT_MAX).contains(n))
                .ok_or(CommandError::new("ERR COUNT must be > 0"))?;
            at += 1;
        } else if args.is(at, "justid") {
            just_id = true;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    let now_ms = cx.now_ms();
    if cx.keys.get(key).is_none() {
        return Err(no_group(key, name));
    }
    let value = cx.keys.get_mut(key).ok_or_else(|| no_group(key, name))?;
    let (group, entries) = value.as_stream_mut()?.group_mut(name).ok_or_else(|| no_group(key, name))?;

    let (consumer, created) = group.find_or_create_consumer(consumer_name, now_ms);
    group.note_visit(consumer, now_ms, false);
    let mut claim = Claim { group, entries, consumer, delivered_at_ms: now_ms, now_ms };
    let found = claim.find(start, count, min_idle_ms);
    cx.reply.array(3);
    reply_id(cx.reply, found.next);
    let dropped = found.ids.iter().filter(|(_, nack)| nack.is_none());
    cx.reply.array(found.ids.len() - dropped.clone().count());
    for &(id, nack) in &found.ids {
        match (nack, entries.get(id)) {
            (Some(nack), Some(entry)) => {
                let deliveries = nack.deliveries.wrapping_add(u64::from(!just_id));
                claim.take(&entry, deliveries, just_id, cx.reply);
            }
            _ => {
                claim.group.acknowledge(id);
            }
        }
    }
    cx.reply.array(dropped.clone().count());
    dropped.for_each(|&(id, _)| reply_id(cx.reply, id));

    if created {
        cx.changed_unwatched(key, Some("xgroup-createconsumer"));
    }
    if !found.ids.is_empty() {
        cx.changed_unwatched(key, None);
        cx.shared.effects.add_dirty(found.ids.len() as u64 - 1);
        let texts: Vec<IdText> = found.ids.iter().map(|(id, _)| id.text()).collect();
        let ids: Vec<&[u8]> = texts.iter().map(|text| &**text).collect();
        let options = ClaimOptions { just_id, ..ClaimOptions::default() };
        log_claim(cx, args, &ids, Claimed { delivered_at_ms: now_ms, options: &options, last_id: None });
    } else if created {
        cx.log(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer_name]);
    }
    Ok(())
}

/// What XAUTOCLAIM will do.
struct Found {
    /// Pending entries to be claimed, and, without their data, those that the stream has no longer.
    ids: Vec<(StreamId, Option<Nack>)>,
    /// Where the next call goes on; 0-0: at the beginning.
    next: StreamId,
}

impl Claim<'_> {
    /// Looks at the pending entries from `start` on for `count` to claim or drop.
    fn find(&self, start: StreamId, count: i64, min_idle_ms: i64) -> Found {
        let mut pending = self.group.pending().range(start..);
        let mut ids = Vec::new();
        let mut attempts = count.saturating_mul(ATTEMPTS_PER_CLAIM);
        while attempts > 0 && (ids.len() as i64) < count {
            attempts -= 1;
            let Some((&id, nack)) = pending.next() else { break };
            if !self.entries.contains(id) {
                ids.push((id, None));
            } else if self.idle_enough(nack, min_idle_ms) {
                ids.push((id, Some(*nack)));
            }
        }
        let next = pending.next().map_or(StreamId::MIN, |(&id, _)| id);
        Found { ids, next }
    }
}
