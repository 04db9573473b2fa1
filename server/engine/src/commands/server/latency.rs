//! LATENCY: what took long, and when; and how long commands take in general.

use std::fmt::Write as _;

use crate::args::Args;
use crate::command::{COMMAND, Command, Entry, Flag, Group, table};
use crate::commands::help::help;
use crate::config::Config;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::latency::{Event, Series};

pub(super) static LATENCY: Command = Command {
    name: "latency",
    arity: -2,
    group: Group::Server,
    since: "2.8.13",
    summary: "Tells what took long, and how long commands take.",
    complexity: "Depends on subcommand.",
    subcommands: &[&DOCTOR, &GRAPH, &HELP, &HISTOGRAM, &HISTORY, &LATEST, &RESET],
    ..COMMAND
};

const SUBCOMMAND: Command = Command {
    group: Group::Server,
    since: "2.8.13",
    flags: &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale],
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    ..COMMAND
};

static HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: &[Flag::Loading, Flag::Stale],
    tips: &[],
    summary: "Describes the subcommands.",
    run: help,
    ..SUBCOMMAND
};

static HISTOGRAM: Command = Command {
    name: "histogram",
    arity: -2,
    since: "7.0.0",
    summary: "Returns how many calls of each command took at most how many microseconds.",
    complexity: "O(N) where N is the number of commands",
    syntax: "[command [command ...]]",
    run: histogram,
    ..SUBCOMMAND
};

fn histogram(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let with_subcommands = |entry: &'static Entry| {
        let subs =
            entry.spec.subcommands.iter().filter_map(|sub| table().find_sub(entry, sub.name.as_bytes()));
        std::iter::once(entry).chain(subs)
    };
    let asked: Vec<&'static Entry> = match args.from(2) {
        [] => table().entries().iter().collect(),
        names => names.iter().filter_map(|name| table().find_full(name)).flat_map(with_subcommands).collect(),
    };
    let by_command = &cx.shared.stats.by_command;
    let called: Vec<&Entry> =
        asked.into_iter().filter(|entry| !by_command[entry.index].latency.is_empty()).collect();
    cx.reply.map(called.len());
    for entry in called {
        let latency = &by_command[entry.index].latency;
        let distribution = latency.cumulative();
        cx.reply.bulk(entry.full_name.as_bytes());
        cx.reply.map(2);
        cx.reply.bulk(b"calls");
        cx.reply.int(latency.count() as i64);
        cx.reply.bulk(b"histogram_usec");
        cx.reply.map(distribution.len());
        for (microseconds, calls) in distribution {
            cx.reply.int(microseconds as i64);
            cx.reply.int(calls as i64);
        }
    }
    Ok(())
}

static HISTORY: Command = Command {
    name: "history",
    arity: 3,
    summary: "Returns when an event took long, and how many milliseconds.",
    syntax: "event:string",
    run: history,
    ..SUBCOMMAND
};

fn history(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let Some((_, series)) = cx.shared.latency.series(args.at(2)) else {
        cx.reply.array(0);
        return Ok(());
    };
    cx.reply.array(series.samples.len());
    for &(at_s, ms) in &series.samples {
        cx.reply.array(2);
        cx.reply.int(at_s);
        cx.reply.int(ms as i64);
    }
    Ok(())
}

static LATEST: Command = Command {
    name: "latest",
    arity: 2,
    summary: "Returns of every event when it last took long, for how many milliseconds, and the most ever.",
    run: latest,
    ..SUBCOMMAND
};

fn latest(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    cx.reply.array(cx.shared.latency.events().len());
    for (name, series) in cx.shared.latency.events() {
        let &(at_s, ms) = series.samples.back().expect("an event is kept with its first sample");
        cx.reply.array(4);
        cx.reply.bulk(name.as_bytes());
        cx.reply.int(at_s);
        cx.reply.int(ms as i64);
        cx.reply.int(series.worst_ms as i64);
    }
    Ok(())
}

static RESET: Command = Command {
    name: "reset",
    arity: -2,
    summary: "Forgets some events, or all; answers how many there were.",
    syntax: "[event:string [event:string ...]]",
    tips: &["request_policy:all_nodes", "response_policy:agg_sum"],
    run: reset,
    ..SUBCOMMAND
};

fn reset(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let latency = &mut cx.shared.latency;
    let forgotten = match args.from(2) {
        [] => latency.forget_all(),
        names => names.iter().filter(|name| latency.forget(name)).count(),
    };
    cx.reply.int(forgotten as i64);
    Ok(())
}

static GRAPH: Command = Command {
    name: "graph",
    arity: 3,
    summary: "Draws how long an event took.",
    syntax: "event:string",
    run: graph,
    ..SUBCOMMAND
};

fn graph(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let Some((name, series)) = cx.shared.latency.series(args.at(2)) else {
        let text = [b"ERR No samples available for event '", args.at(2), b"'"].concat();
        return Err(CommandError::Bytes(text));
    };
    let text = draw(name, series, cx.now_ms() / 1000);
    cx.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

/// Columns of a graph; more samples than that go below.
const COLUMNS: usize = 80;
/// Lines of a graph, and the steps within a line.
const ROWS: u64 = 4;
const STEPS: [char; 3] = ['_', 'o', '#'];

/// One column for each sample, with its age read downwards below it.
fn draw(name: &str, series: &Series, now_s: i64) -> String {
    let (mut low, mut high) = (u64::MAX, 0);
    for &(_, ms) in &series.samples {
        (low, high) = (low.min(ms), high.max(ms));
    }
    let mut text = format!("{name} - high {high} ms, low {low} ms (all time high {} ms)\n", series.worst_ms);
    text.extend(std::iter::repeat_n('-', COLUMNS));
    text.push('\n');
    let steps = STEPS.len() as u64 * ROWS;
    let step_of = |ms: u64| ((ms - low) * steps / (high - low).max(1)).min(steps - 1);
    let columns: Vec<(u64, String)> =
        series.samples.iter().map(|&(at_s, ms)| (step_of(ms), age(now_s - at_s))).collect();
    for (part, columns) in columns.chunks(COLUMNS).enumerate() {
        if part > 0 {
            text.push('\n');
        }
        for row in (0..ROWS).rev() {
            let floor = row * STEPS.len() as u64;
            text.extend(columns.iter().map(|&(step, _)| match step.checked_sub(floor) {
                None => ' ',
                Some(within) => STEPS.get(within as usize).copied().unwrap_or('|'),
            }));
            text.push('\n');
        }
        let label_len = columns.iter().map(|(_, label)| label.len()).max().unwrap_or(0);
        text.extend(std::iter::repeat_n(' ', columns.len()));
        text.push('\n');
        for at in 0..label_len {
            text.extend(columns.iter().map(|(_, label)| label.as_bytes().get(at).map_or(' ', |&c| c.into())));
            text.push('\n');
        }
    }
    text
}

/// Seconds as people say them, in few letters.
fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

static DOCTOR: Command = Command {
    name: "doctor",
    arity: 2,
    summary: "Says what took long, and what may help.",
    run: doctor,
    ..SUBCOMMAND
};

fn doctor(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let text = report(cx);
    cx.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

fn report(cx: &Context<'_>) -> String {
    let (latency, config) = (&cx.shared.latency, cx.config());
    if latency.events().len() == 0 {
        return match config.latency_monitor_threshold {
            0 => "Nothing is being watched. CONFIG SET latency-monitor-threshold <milliseconds> keeps whatever takes \
                  at least so long.\n"
                .to_owned(),
            threshold => format!("Nothing has taken {threshold} milliseconds or more.\n"),
        };
    }
    let now_s = cx.now_ms() / 1000;
    let mut text = String::from("These took longer than they should:\n\n");
    for (number, (name, series)) in latency.events().enumerate() {
        let Figures { count, mean, deviation, seconds_between } = Figures::of(series, now_s);
        writeln!(
            text,
            "{}. {name}: {count} latency spikes (average {mean}ms, mean deviation {deviation}ms, period \
             {seconds_between:.2} sec). Worst all time event {}ms.",
            number + 1,
            series.worst_ms
        )
        .expect("a String takes it");
    }
    text.push_str("\nWhat may help:\n\n");
    for (name, _) in latency.events() {
        for advice in advice(name, config) {
            writeln!(text, "- {advice}").expect("a String takes it");
        }
    }
    text
}

/// What LATENCY DOCTOR says of an event.
struct Figures {
    count: u64,
    mean: u64,
    deviation: u64,
    seconds_between: f64,
}

impl Figures {
    fn of(series: &Series, now_s: i64) -> Self {
        let count = series.samples.len().max(1) as u64;
        let mean = series.samples.iter().map(|(_, ms)| ms).sum::<u64>() / count;
        let deviation = series.samples.iter().map(|(_, ms)| ms.abs_diff(mean)).sum::<u64>() / count;
        let oldest_s = series.samples.front().map_or(now_s, |(at_s, _)| *at_s);
        Self { count, mean, deviation, seconds_between: (now_s - oldest_s).max(1) as f64 / count as f64 }
    }
}

fn advice(event: &str, config: &Config) -> Vec<String> {
    let threshold_us = config.latency_monitor_threshold.saturating_mul(1000);
    let slow_log_us = u64::try_from(config.slowlog_log_slower_than).unwrap_or(u64::MAX);
    let is = |known: Event| event == known.name();
    let mut all = Vec::new();
    if is(Event::Command) {
        all.push("command: SLOWLOG GET shows which commands were slow.".to_owned());
        if slow_log_us > threshold_us && threshold_us > 0 {
            all.push(format!(
                "command: the slow log misses some of them. CONFIG SET slowlog-log-slower-than {threshold_us} lets it \
                 keep what is kept here."
            ));
        }
        all.push(
            "command: large collections read as a whole take long; read them in parts (HSCAN, LRANGE)."
                .to_owned(),
        );
    } else if is(Event::FastCommand) {
        all.push(
            "fast-command: these do little, so that the process probably did not get the processor. Lower the load of \
             the machine, or look for a neighbour on the same hardware."
                .to_owned(),
        );
    } else if is(Event::ExpireCycle) {
        all.push("expire-cycle: very many keys expire at the same time. Spread their times.".to_owned());
    } else if is(Event::EvictionCycle) {
        all.push(
            "eviction-cycle: much memory had to be freed at once. Raise maxmemory, or lower \
             maxmemory-eviction-tenacity."
                .to_owned(),
        );
    } else {
        all.push(format!(
            "{event}: the disk takes long to make the log durable. Use a local disk, with less other work."
        ));
        if is(Event::LogSyncAlways) {
            all.push(format!("{event}: with appendfsync everysec replies do not wait for it, and a crash may lose a second."));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use super::*;
    use crate::testing::TestEngine;

    #[test]
    fn what_is_slow_is_kept_by_kind() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "CONFIG SET enable-debug-command yes");
        server.engine.shared.config.enable_debug_command = crate::config::ProtectedAction::Yes;
        server.run(a, "DEBUG SLEEP 1");
        assert_eq!(server.run(a, "LATENCY LATEST"), "*0\r\n", "nothing is watched");
        server.run(a, "CONFIG SET latency-monitor-threshold 100");
        server.run(a, "DEBUG SLEEP 0.3");
        server.now_ms += 2000;
        server.run(a, "DEBUG SLEEP 0.2");
        assert_eq!(
            server.run(a, "LATENCY HISTORY command"),
            "*2\r\n*2\r\n:1700000001\r\n:300\r\n*2\r\n:1700000002\r\n:200\r\n"
        );
        assert_eq!(
            server.run(a, "LATENCY LATEST"),
            "*1\r\n*4\r\n$7\r\ncommand\r\n:1700000002\r\n:200\r\n:300\r\n"
        );
        let report = server.run(a, "LATENCY DOCTOR");
        assert!(
            report.contains("1. command: 2 latency spikes (average 250ms, mean deviation 50ms"),
            "{report}"
        );
        assert!(server.run(a, "LATENCY GRAPH command").contains("command - high 300 ms, low 200 ms"));
        assert_eq!(server.run(a, "LATENCY RESET nosuch COMMAND command"), ":1\r\n");
    }

    #[test]
    fn a_graph_has_a_column_for_each_sample() {
        let samples = [(0, 100), (3500, 400), (3590, 1300)].into_iter().collect();
        let text = draw("command", &Series { samples, worst_ms: 1300 }, 3600);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines, ["  #", "  |", " _|", "_||", "   ", "111", "hm0", "  s"]);
    }
}
