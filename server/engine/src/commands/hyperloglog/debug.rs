//! PFDEBUG and PFSELFTEST: a look inside a sketch, and a test of what sketches promise.

use super::registers::{self, Form, REGISTERS};
use super::{estimate, form_at, log_sketch};
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group, Keys, READ_REWRITE};
use crate::commands::string::raw_at;
use crate::context::Context;
use crate::error::{CommandError, CommandResult, printed};
use crate::rng::Rng;
use crate::value::Value;

pub(super) static PFDEBUG: Command = Command {
    name: "pfdebug",
    arity: 3,
    group: Group::HyperLogLog,
    since: "2.8.9",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Admin],
    keys: &[Keys::at(2, READ_REWRITE)],
    summary: "Shows the registers, the encoding or the runs of a HyperLogLog, or makes it dense.",
    complexity: "O(1), with a large constant",
    syntax: "subcommand:string key",
    run: pfdebug,
    ..COMMAND
};

fn pfdebug(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(2);
    let form = match cx.keys.find_to_change(key) {
        true => form_at(cx, key)?,
        false => None,
    };
    let Some(form) = form else { return Err("ERR The specified key does not exist".into()) };
    if args.is(1, "GETREG") {
        make_dense(cx, key, form)?;
        let values = values_at(cx, key)?;
        cx.reply.array(REGISTERS);
        for value in values {
            cx.reply.int(i64::from(value));
        }
    } else if args.is(1, "DECODE") {
        if form != Form::Sparse {
            return Err("ERR HLL encoding is not sparse".into());
        }
        let runs = with_sketch(cx, key, registers::runs_text)?;
        cx.reply.bulk(runs.as_bytes());
    } else if args.is(1, "ENCODING") {
        cx.reply.simple(if form == Form::Sparse { "sparse" } else { "dense" });
    } else if args.is(1, "TODENSE") {
        make_dense(cx, key, form)?;
        cx.reply.int((form == Form::Sparse).into());
    } else {
        return Err(CommandError::Bytes(
            [b"ERR Unknown PFDEBUG subcommand '", printed(args.at(1)), b"'"].concat(),
        ));
    }
    Ok(())
}

/// The string, which is known to be a sketch.
fn with_sketch<R>(cx: &Context<'_>, key: &[u8], f: impl FnOnce(&[u8]) -> R) -> R {
    match cx.keys.peek(key) {
        Some(Value::Str(string)) => string.with_bytes(f),
        _ => f(b""),
    }
}

fn values_at(cx: &Context<'_>, key: &[u8]) -> CommandResult<[u8; REGISTERS]> {
    let mut values = [0; REGISTERS];
    with_sketch(cx, key, |bytes| registers::merge(&mut values, bytes))?;
    Ok(values)
}

/// Another form of the same sketch: an effect, but no change that a WATCH is about.
fn make_dense(cx: &mut Context<'_>, key: &[u8], form: Form) -> CommandResult {
    if form == Form::Sparse {
        registers::make_dense(raw_at(cx, key)?)?;
        log_sketch(cx, key, Some(form), &[]);
        cx.changed_unwatched(key, None);
    }
    Ok(())
}

pub(super) static PFSELFTEST: Command = Command {
    name: "pfselftest",
    arity: 1,
    group: Group::HyperLogLog,
    since: "2.8.9",
    flags: &[Flag::Admin],
    summary: "Tests that registers keep what is put into them and that estimates are as good as they are said to be.",
    complexity: "O(1), with a very large constant",
    run: |cx, _| {
        let rng = Rng::new(cx.shared.rng.next());
        test_registers(&rng)?;
        test_estimates(&rng, cx.config().hll_sparse_max_bytes)?;
        cx.reply.ok();
        Ok(())
    },
    ..COMMAND
};

/// Register values go up to this.
const VALUE_MAX: u64 = 63;
/// Elements that the estimates are tried with.
const ELEMENTS: u64 = 1_000_000;

fn test_registers(rng: &Rng) -> CommandResult {
    let mut buf = registers::empty();
    registers::make_dense(&mut buf)?;
    let mut values = [0; REGISTERS];
    for value in &mut values {
        *value = rng.below(VALUE_MAX + 1) as u8;
    }
    registers::raise(&mut buf, &values, 0)?;
    let mut read = [0; REGISTERS];
    registers::merge(&mut read, &buf)?;
    match (0..REGISTERS).find(|&at| read[at] != values[at]) {
        None => Ok(()),
        Some(at) => {
            Err(format!("TESTFAILED Register {at} should be {} but is {}", values[at], read[at]).into())
        }
    }
}

fn test_estimates(rng: &Rng, sparse_max: usize) -> CommandResult {
    let seed = rng.next();
    let (mut sparse, mut dense) = (registers::empty(), registers::empty());
    registers::make_dense(&mut dense)?;
    let relative_error = 1.04 / (REGISTERS as f64).sqrt();
    let mut checkpoint = 1;
    for n in 1..=ELEMENTS {
        let element = (n ^ seed).to_le_bytes();
        registers::add(&mut dense, &element, sparse_max)?;
        registers::add(&mut sparse, &element, sparse_max)?;
        if n != checkpoint {
            continue;
        }
        if n < sparse_max as u64 / 2 && registers::form(&sparse) != Some(Form::Sparse) {
            return Err("TESTFAILED sparse encoding not used".into());
        }
        let count = estimate::of_sketch(&dense)?;
        if count != estimate::of_sketch(&sparse)? {
            return Err("TESTFAILED dense/sparse disagree".into());
        }
        // So few elements may well meet in one register.
        let error_max = if n == 10 { 1 } else { (relative_error * 6.0 * n as f64).ceil() as u64 };
        let error = n.abs_diff(count);
        if error > error_max {
            return Err(format!("TESTFAILED Too big error. card:{n} abserr:{error}").into());
        }
        checkpoint *= 10;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_self_test_passes() {
        let rng = Rng::new(7);
        test_registers(&rng).unwrap();
        test_estimates(&rng, 3000).unwrap();
    }
}
