//! Places on Earth, kept in sorted sets: the score is a geohash of 52 bits. `hash.rs`: the arithmetic; `search.rs`:
//! what lies within a circle or a box; here: the commands on single places.

mod hash;
mod search;
#[cfg(test)]
mod tests;

use cairn_proto::ReplyWriter;
use hash::{Cell, Point};

use super::zset::{Conditions, add};
use crate::args::{Args, parse_f64};
use crate::command::{COMMAND, Command, Flag, Group, Keys, READ, UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::types::Zset;

pub(super) const COMMANDS: &[&Command] = &[
    &GEOADD,
    &GEODIST,
    &GEOHASH,
    &GEOPOS,
    &search::GEORADIUS,
    &search::GEORADIUSBYMEMBER,
    &search::GEORADIUSBYMEMBER_RO,
    &search::GEORADIUS_RO,
    &search::GEOSEARCH,
    &search::GEOSEARCHSTORE,
];

static GEOADD: Command = Command {
    name: "geoadd",
    arity: -5,
    group: Group::Geo,
    since: "3.2.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Adds places to a sorted set, or moves them; makes the set when the key is not there.",
    complexity: "O(log(N)) for each place, N being the length of the sorted set",
    syntax: "key [NX | XX] [CH] longitude:double latitude:double member:string \
             [longitude:double latitude:double member:string ...]",
    run: geoadd,
    ..COMMAND
};

fn geoadd(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let mut conditions = Conditions::default();
    let mut count_changed = false;
    let mut at = 2;
    while at < args.len() {
        if args.is(at, "NX") {
            conditions.new_only = true;
        } else if args.is(at, "XX") {
            conditions.present_only = true;
        } else if args.is(at, "CH") {
            count_changed = true;
        } else {
            break;
        }
        at += 1;
    }
    let (places, []) = args.from(at).as_chunks::<3>() else { return Err(CommandError::Syntax) };
    if conditions.new_only && conditions.present_only {
        return Err(CommandError::Syntax);
    }
    let pairs = places.iter().map(|&[longitude, latitude, member]| {
        Ok((Cell::of(parse_point(longitude, latitude)?).score() as f64, member))
    });
    let pairs: Vec<(f64, &[u8])> = pairs.collect::<CommandResult<_>>()?;
    if pairs.is_empty() {
        // What Redis, which makes a ZADD of it, says to a ZADD without members.
        return Err(CommandError::Syntax);
    }

    let addition = add(cx, key, &pairs, conditions)?;
    if addition.changes() > 0 {
        log_as_zadd(cx, key, conditions, &pairs);
    }
    cx.reply.int(if count_changed { addition.changes() } else { addition.added } as i64);
    Ok(())
}

/// The effect of adding places, without what another machine's floating point might round differently.
fn log_as_zadd(cx: &mut Context<'_>, key: &[u8], conditions: Conditions, pairs: &[(f64, &[u8])]) {
    let scores: Vec<String> = pairs.iter().map(|(score, _)| (*score as u64).to_string()).collect();
    let mut effect: Vec<&[u8]> = Vec::with_capacity(3 + 2 * pairs.len());
    effect.extend([b"ZADD", key]);
    if conditions.new_only {
        effect.push(b"NX");
    } else if conditions.present_only {
        effect.push(b"XX");
    }
    for (score, (_, member)) in scores.iter().zip(pairs) {
        effect.extend([score.as_bytes(), member]);
    }
    cx.log(&effect);
}

static GEOPOS: Command = Command {
    name: "geopos",
    arity: -2,
    group: Group::Geo,
    since: "3.2.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the longitudes and latitudes of places.",
    complexity: "O(1) for each place",
    syntax: "key [member:string [member:string ...]]",
    run: geopos,
    ..COMMAND
};

fn geopos(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let set = cx.keys.get(args.at(1)).map(|value| value.as_zset()).transpose()?;
    let members = args.from(2);
    cx.reply.array(members.len());
    for member in members {
        match set.and_then(|set| place_of(set, member)) {
            Some(point) => reply_point(cx.reply, point),
            None => cx.reply.null_array(),
        }
    }
    Ok(())
}

static GEOHASH: Command = Command {
    name: "geohash",
    arity: -2,
    group: Group::Geo,
    since: "3.2.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the geohashes of places, as other programs write them.",
    complexity: "O(1) for each place",
    syntax: "key [member:string [member:string ...]]",
    run: geohash,
    ..COMMAND
};

fn geohash(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let set = cx.keys.get(args.at(1)).map(|value| value.as_zset()).transpose()?;
    let members = args.from(2);
    cx.reply.array(members.len());
    for member in members {
        match set.and_then(|set| place_of(set, member)) {
            Some(point) => cx.reply.bulk(&hash::standard_text(point)),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

static GEODIST: Command = Command {
    name: "geodist",
    arity: -4,
    group: Group::Geo,
    since: "3.2.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the distance between two places.",
    syntax: "key member1:string member2:string [M | KM | FT | MI]",
    run: geodist,
    ..COMMAND
};

fn geodist(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let metres_per_unit = match args.len() {
        4 => 1.0,
        5 => parse_unit(args.at(4))?,
        _ => return Err(CommandError::Syntax),
    };
    let set = cx.keys.get(args.at(1)).map(|value| value.as_zset()).transpose()?;
    let places = set.and_then(|set| Some((place_of(set, args.at(2))?, place_of(set, args.at(3))?)));
    match places {
        Some((a, b)) => reply_distance(cx.reply, hash::distance(a, b) / metres_per_unit),
        None => cx.reply.null(),
    }
    Ok(())
}

/// Where the member is.
fn place_of(set: &Zset, member: &[u8]) -> Option<Point> {
    set.score(member).map(|score| Cell::of_score(score).centre())
}

/// Metres in one of the units that Redis knows.
fn parse_unit(arg: &[u8]) -> CommandResult<f64> {
    const UNITS: [(&[u8], f64); 4] = [(b"m", 1.0), (b"km", 1000.0), (b"ft", 0.3048), (b"mi", 1609.34)];
    let unit = UNITS.iter().find(|(name, _)| arg.eq_ignore_ascii_case(name));
    unit.map(|(_, metres)| *metres).ok_or("ERR unsupported unit provided. please use M, KM, FT, MI".into())
}

fn parse_point(longitude: &[u8], latitude: &[u8]) -> CommandResult<Point> {
    let coordinate = |arg: &[u8]| parse_f64(arg).ok_or(CommandError::NotFloat);
    let point = Point { longitude: coordinate(longitude)?, latitude: coordinate(latitude)? };
    if !hash::WORLD.contains(point) {
        let Point { longitude, latitude } = point;
        return Err(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}").into());
    }
    Ok(point)
}

/// An array of longitude and latitude.
fn reply_point(reply: &mut ReplyWriter, point: Point) {
    reply.array(2);
    reply.double_text(&human(point.longitude));
    reply.double_text(&human(point.latitude));
}

/// At most 17 decimals, without zeros at the end.
fn human(value: f64) -> String {
    let text = format!("{value:.17}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Four decimals, as a bulk string in both protocols.
fn reply_distance(reply: &mut ReplyWriter, distance: f64) {
    // Scaled and rounded as a double first, as Redis does: the last digit depends on it.
    let scaled = (distance * 10_000.0).round_ties_even() as i64;
    let (sign, scaled) = if scaled < 0 { ("-", scaled.unsigned_abs()) } else { ("", scaled as u64) };
    reply.bulk(format!("{sign}{}.{:04}", scaled / 10_000, scaled % 10_000).as_bytes());
}
