//! MEMORY: what takes how much.

use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group, Keys, METADATA};
use crate::commands::help::help;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Db;

/// Elements that stand for a collection unless SAMPLES says otherwise.
const SAMPLES_DEFAULT: usize = 5;
/// Below this MEMORY DOCTOR has nothing to go by, as in Redis.
const DOCTOR_BYTES_MIN: usize = 5 << 20;
/// Peak, in percent of the present use, from which MEMORY DOCTOR speaks of it.
const DOCTOR_PEAK_PERCENT: usize = 150;
/// Resident memory, in percent of what is allocated, from which MEMORY DOCTOR speaks of fragmentation.
const DOCTOR_RESIDENT_PERCENT: usize = 140;
/// And by how much at least, in bytes.
const DOCTOR_FRAGMENTATION_BYTES_MIN: usize = 10 << 20;

pub(super) static MEMORY: Command = Command {
    name: "memory",
    arity: -2,
    since: "4.0.0",
    group: Group::Server,
    summary: "Tells what takes how much memory.",
    complexity: "Depends on the subcommand.",
    subcommands: &[&DOCTOR, &HELP, &MALLOC_STATS, &PURGE, &STATS, &USAGE],
    ..COMMAND
};

/// What the subcommands have in common.
const SUBCOMMAND: Command = Command { arity: 2, since: "4.0.0", group: Group::Server, ..COMMAND };

static HELP: Command = Command {
    name: "help",
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Lists the subcommands.",
    run: help,
    ..SUBCOMMAND
};

static USAGE: Command = Command {
    name: "usage",
    arity: -3,
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(2, METADATA)],
    summary: "Estimates the bytes that a key and its value take; some elements stand for the others (0: none).",
    complexity: "O(N) with N the number of samples",
    syntax: "key [SAMPLES count:integer]",
    run: usage,
    ..SUBCOMMAND
};

fn usage(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(2);
    let mut samples = SAMPLES_DEFAULT;
    let mut i = 3;
    while i < args.len() {
        if !args.is(i, "SAMPLES") || i + 1 == args.len() {
            return Err(CommandError::Syntax);
        }
        samples = usize::try_from(args.int(i + 1)?).map_err(|_| CommandError::Syntax)?;
        i += 2;
    }
    match cx.keys.db().key_size(key, samples) {
        Some(bytes) => cx.reply.int(bytes as i64),
        None => cx.reply.null(),
    }
    Ok(())
}

static STATS: Command = Command {
    name: "stats",
    summary: "Tells what the server's memory is used for.",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    run: stats,
    ..SUBCOMMAND
};

fn stats(cx: &mut Context<'_>, _: Args<'_>) -> CommandResult {
    let facts = cx.host.facts();
    let used = cx.host.used_memory();
    let (clients, fed) = (cx.shared.clients_memory(), cx.shared.fed_bytes);
    let dbs: Vec<(usize, &Db)> = cx.keys.dbs().iter().enumerate().filter(|(_, db)| !db.is_empty()).collect();
    let tables_of = |db: &Db| db.dict.heap_size() + db.expires.heap_size() + db.field_expiries.heap_size();
    let tables: usize = dbs.iter().map(|(_, db)| tables_of(db)).sum();
    let key_count: usize = dbs.iter().map(|(_, db)| db.len()).sum();
    let overhead = clients + fed + tables;
    let dataset = used.saturating_sub(overhead);
    let resident = facts.resident_bytes as usize;
    let peak = used.max(facts.peak_memory as usize);

    let reply = &mut *cx.reply;
    reply.map(15 + dbs.len());
    let mut int = |name: &str, value: usize| {
        reply.bulk(name.as_bytes());
        reply.int(value as i64);
    };
    int("peak.allocated", peak);
    int("total.allocated", used);
    int("clients.slaves", fed);
    int("clients.normal", clients);
    int("overhead.total", overhead);
    int("keys.count", key_count);
    int("keys.bytes-per-key", dataset.checked_div(key_count).unwrap_or(0));
    int("dataset.bytes", dataset);
    int("allocator.allocated", used);
    int("allocator.resident", resident);
    int("trash.bytes", cx.keys.trash_bytes());
    int("fragmentation.bytes", resident.saturating_sub(used));
    let mut share = |name: &str, value: f64| {
        reply.bulk(name.as_bytes());
        reply.double(value);
    };
    share("dataset.percentage", percent(dataset, used));
    share("peak.percentage", percent(used, peak));
    share("fragmentation", percent(resident, used) / 100.0);
    for (index, db) in dbs {
        reply.bulk(format!("db.{index}").as_bytes());
        reply.map(2);
        reply.bulk(b"overhead.hashtable.main");
        reply.int(db.dict.heap_size() as i64);
        reply.bulk(b"overhead.hashtable.expires");
        reply.int(db.expires.heap_size() as i64);
    }
    Ok(())
}

fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

static DOCTOR: Command = Command {
    name: "doctor",
    summary: "Says in words whether something is wrong with the memory.",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    run: doctor,
    ..SUBCOMMAND
};

fn doctor(cx: &mut Context<'_>, _: Args<'_>) -> CommandResult {
    let facts = cx.host.facts();
    let used = cx.host.used_memory();
    let report = diagnose(
        used,
        facts.peak_memory as usize,
        facts.resident_bytes as usize,
        cx.config().maxmemory as usize,
    );
    cx.reply.verbatim(b"txt", report.as_bytes());
    Ok(())
}

fn diagnose(used: usize, peak: usize, resident: usize, limit: usize) -> String {
    if used < DOCTOR_BYTES_MIN {
        return "This server holds next to nothing. There is nothing to diagnose yet.\n".to_owned();
    }
    let mut report = String::new();
    if peak / 100 > used / 100 * DOCTOR_PEAK_PERCENT / 100 {
        report.push_str(&format!(
            "* Peak: at some time {peak} bytes were in use, now it is {used}. The process may keep some of the \
             difference from the system; it will use that before it asks for more.\n"
        ));
    }
    if resident.saturating_sub(used) > DOCTOR_FRAGMENTATION_BYTES_MIN
        && resident / 100 > used / 100 * DOCTOR_RESIDENT_PERCENT / 100
    {
        report.push_str(&format!(
            "* Fragmentation: the process takes {resident} bytes from the system for {used} bytes in use. After \
             many removals this is normal; otherwise a restart gives the difference back.\n"
        ));
    }
    if limit > 0 && used > limit {
        report.push_str(&format!(
            "* Limit: {used} bytes are in use, maxmemory is {limit}. Keys are evicted, or writes refused, as \
             maxmemory-policy says.\n"
        ));
    }
    if report.is_empty() { "Nothing is wrong with this server's memory.\n".to_owned() } else { report }
}

static MALLOC_STATS: Command = Command {
    name: "malloc-stats",
    summary: "Returns the allocator's own report.",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    run: |cx, _| {
        match cx.host.allocator_report() {
            Some(report) => cx.reply.verbatim(b"txt", report.as_bytes()),
            None => cx.reply.bulk(b"Stats not supported for the current allocator"),
        }
        Ok(())
    },
    ..SUBCOMMAND
};

static PURGE: Command = Command {
    name: "purge",
    summary: "Asks for freed memory to be returned to the system, which the allocator does by itself.",
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    run: |cx, _| {
        cx.reply.ok();
        Ok(())
    },
    ..SUBCOMMAND
};

#[cfg(test)]
mod tests {
    use super::diagnose;

    #[test]
    fn the_doctor_names_what_is_out_of_order() {
        const MIB: usize = 1 << 20;
        assert!(diagnose(MIB, MIB, MIB, 0).contains("nothing to diagnose"));
        assert!(diagnose(100 * MIB, 100 * MIB, 110 * MIB, 0).contains("Nothing is wrong"));
        let all = diagnose(100 * MIB, 200 * MIB, 200 * MIB, 50 * MIB);
        for word in ["Peak", "Fragmentation", "Limit"] {
            assert!(all.contains(word), "{word} in {all}");
        }
    }
}
