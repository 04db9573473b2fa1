//! Vector sets, as Redis 8 has them: the same replies and errors.
//!
//! `add`: changes; `similar`: VSIM; `read`: questions about elements; `graph`: what is beneath. There are no threads: CAS and NOTHREAD are
//! taken, and change nothing.
//!
//! The effect of VADD has the vector as it was given, in FP32, and every option: what follows from them is computed alike on every node.

mod add;
mod graph;
mod read;
mod similar;
#[cfg(test)]
mod tests;

use cairn_search::vector::set::DIM_MAX;

use crate::args::{Args, parse_f64, parse_i64};
use crate::command::Command;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::types::VectorSet;
use crate::value::Value;

/// Every command of the family.
pub(super) const COMMANDS: &[&Command] = &[
    &add::VADD,
    &add::VREM,
    &add::VSETATTR,
    &graph::VINFO,
    &graph::VLINKS,
    &read::VCARD,
    &read::VDIM,
    &read::VEMB,
    &read::VGETATTR,
    &read::VISMEMBER,
    &read::VRANDMEMBER,
    &read::VRANGE,
    &similar::VSIM,
];

const INVALID_VECTOR: CommandError = CommandError::new("ERR invalid vector specification");

/// The set at the key, for a command that reads it.
fn read_set<'a>(cx: &'a Context<'_>, key: &[u8]) -> CommandResult<Option<&'a VectorSet>> {
    cx.keys.get(key).map(Value::as_vector_set).transpose()
}

/// A vector among the arguments.
struct Given {
    vector: Vec<f32>,
    /// The dimensions that it is to be reduced to.
    reduce: Option<usize>,
    /// The argument after it.
    next: usize,
}

impl Given {
    /// `[REDUCE dim] FP32 blob`, or `VALUES count number …`, from argument `at` on.
    fn parse(args: Args<'_>, mut at: usize, may_reduce: bool) -> CommandResult<Self> {
        let mut reduce = None;
        if may_reduce && args.len() > at + 2 && args.is(at, "REDUCE") {
            let dim = parse_i64(args.at(at + 1)).and_then(|dim| usize::try_from(dim).ok());
            reduce = Some(dim.filter(|&dim| dim > 0).ok_or(INVALID_VECTOR)?);
            at += 2;
        }
        let (vector, next) = if args.is(at, "FP32") {
            let blob = args.get(at + 1).ok_or(INVALID_VECTOR)?;
            let numbers = blob.chunks_exact(4);
            if blob.is_empty() || !numbers.remainder().is_empty() || blob.len() / 4 > DIM_MAX {
                return Err(INVALID_VECTOR);
            }
            let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("cut in fours"));
            (numbers.map(number).collect(), at + 2)
        } else if args.is(at, "VALUES") {
            let count = args.get(at + 1).and_then(|arg| parse_i64(arg)).ok_or(INVALID_VECTOR)?;
            let count = usize::try_from(count).ok().filter(|count| (1..=DIM_MAX).contains(count));
            let from = at + 2;
            let next = from + count.ok_or(INVALID_VECTOR)?;
            let numbers = args.as_slice().get(from..next).ok_or(INVALID_VECTOR)?;
            let numbers = numbers.iter().map(|arg| parse_f64(arg).map(|number| number as f32));
            (numbers.collect::<Option<Vec<f32>>>().ok_or(INVALID_VECTOR)?, next)
        } else {
            return Err(INVALID_VECTOR);
        };
        if reduce.is_some_and(|dim| dim > vector.len()) {
            return Err(INVALID_VECTOR);
        }
        Ok(Self { vector, reduce, next })
    }

    /// The vector for this set, of any length: in its dimensions, if it can be.
    fn for_set(self, set: &VectorSet) -> CommandResult<Vec<f32>> {
        let dim = set.slots().dim();
        let got = self.vector.len();
        match set.projection() {
            Some(projection) if got == projection.from => Ok(projection.apply(&self.vector)),
            Some(projection) => Err(format!(
                "ERR Input dimension mismatch for projection - got {got} but projection expects {}",
                projection.from
            )
            .into()),
            None if got == dim => Ok(self.vector),
            None => Err(dimension_mismatch(got, dim)),
        }
    }
}

fn dimension_mismatch(got: usize, dim: usize) -> CommandError {
    format!("ERR Vector dimension mismatch - got {got} but set has {dim}").into()
}

/// An option's integer within bounds.
fn bounded(arg: &[u8], bounds: std::ops::RangeInclusive<i64>, error: &'static str) -> CommandResult<usize> {
    let number = parse_i64(arg).filter(|number| bounds.contains(number));
    Ok(number.ok_or(CommandError::new(error))? as usize)
}
