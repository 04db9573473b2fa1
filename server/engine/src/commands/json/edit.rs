//! Changes of the values that a path means: found and checked all, then changed, then written down place by place.

use std::cmp::Ordering;

use cairn_json::{DEPTH_MAX, Json, Location, Step};

use super::{NO_KEY, document_mut, no_path_or, parse_path, peek};
use crate::context::Context;
use crate::dispatch::UNIT_TOO_LARGE;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;

/// Bytes of text that one command may put into a document: a value times the places it goes to.
const GROWTH_MAX: usize = 512 * 1024 * 1024;
/// Bytes of an effect at most beside its key, its place and what [`Edit::given`] counts: its name, two numbers, and what goes
/// before and after each of the words.
const EFFECT_BYTES: usize = 192;
/// Bytes that go before and after one word of an effect, at most.
const WORD_BYTES: usize = 16;

/// What a command does to each value that its path means.
pub(super) struct Edit<'a> {
    pub key: &'a [u8],
    pub path: &'a str,
    /// Of the notification, if anything changes.
    pub event: &'static str,
    /// Elements come and go: what is within a value must change before the value itself does.
    pub innermost_first: bool,
    /// Words of the client that each effect repeats.
    pub given: &'a [&'a [u8]],
}

/// What came of it.
pub(super) struct Edited<R> {
    /// For each value, in the document's order; `None` if it was not one to change.
    pub results: Vec<Option<R>>,
    /// The place in `results` of the value changed last.
    pub last: Option<usize>,
}

impl<R> Edited<R> {
    /// What a legacy path's reply is: that of the last value.
    pub fn into_last(mut self, or: &str) -> CommandResult<R> {
        let last = self.last.and_then(|at| self.results[at].take());
        last.ok_or_else(|| no_path_or(or))
    }
}

impl Edit<'_> {
    /// `check` says which values are to change, or why nothing can. `change` changes one; `None`: it is as it was. `effect`
    /// is what to write down of it: the words after the command's name and the key, given its place as a path, the
    /// value as it is now, and the result.
    pub fn run<R>(
        &self,
        cx: &mut Context<'_>,
        mut check: impl FnMut(&Location, &Json) -> CommandResult<bool>,
        mut change: impl FnMut(&mut Json) -> Option<R>,
        effect: impl Fn(&str, &Json, &R) -> Vec<Vec<u8>>,
    ) -> CommandResult<Edited<R>> {
        let document = peek(cx, self.key)?.ok_or(NO_KEY)?;
        let found = parse_path(self.path)?.locate(document)?;
        let mut results = Vec::with_capacity(found.len());
        let mut places = Vec::new();
        for (at, (location, value)) in found.into_iter().enumerate() {
            results.push(None);
            if check(&location, value)? {
                places.push((at, location));
            }
        }
        let given = self.given.iter().map(|word| word.len() + WORD_BYTES).sum();
        let mut room = EffectRoom::default();
        places.iter().try_for_each(|(_, place)| room.check(cx, self.key, place, given))?;
        if self.innermost_first {
            places.sort_by(|(_, a), (_, b)| order_of_change(a, b));
        }
        let mut effects = Vec::new();
        let mut last = None;
        for (at, location) in places {
            last = Some(at);
            let value = document_mut(cx, self.key).and_then(|document| document.at_mut(location.steps()));
            let Some(value) = value else { continue };
            let result = change(value);
            if let Some(result) = &result {
                effects.push(effect(&location.to_path(), value, result));
            }
            results[at] = result;
        }
        if !effects.is_empty() {
            cx.changed(self.key, Class::Module, self.event);
        }
        for words in effects {
            let (name, rest) = words.split_first().expect("an effect has a name");
            let mut argv: Vec<&[u8]> = vec![name, self.key];
            argv.extend(rest.iter().map(Vec::as_slice));
            cx.log(&argv);
        }
        Ok(Edited { results, last })
    }
}

/// Checks, for all places together, what putting values of so much text and depth into a document would make of it.
pub(super) struct Growth {
    len: usize,
    depth: usize,
    grown: usize,
}

impl Growth {
    pub fn new(len: usize, depth: usize) -> Self {
        Self { len, depth, grown: 0 }
    }

    /// The values go below so many containers.
    pub fn check(&mut self, levels: usize) -> CommandResult {
        self.grown = self.grown.saturating_add(self.len);
        if self.grown > GROWTH_MAX && self.grown > self.len {
            return Err(CommandError::new("ERR the value would be put into too many places"));
        }
        if levels + self.depth > DEPTH_MAX {
            return Err(CommandError::new("ERR the document would be nested too deeply"));
        }
        Ok(())
    }
}

/// Checks, before anything changes, that what is to be written down fits into one unit: every place names the key and
/// its whole path.
#[derive(Default)]
pub(super) struct EffectRoom {
    bytes: usize,
}

impl EffectRoom {
    /// One more effect, with `given` bytes from the client. Effects that are applied have been checked where they were made.
    pub fn check(&mut self, cx: &Context<'_>, key: &[u8], place: &Location, given: usize) -> CommandResult {
        let bytes = key.len() + place.path_len() + given + EFFECT_BYTES;
        self.bytes = self.bytes.saturating_add(bytes);
        match cx.mode.applying || cx.shared.effects.has_room_for(self.bytes) {
            true => Ok(()),
            false => Err(UNIT_TOO_LARGE),
        }
    }
}

/// Leaves out what lies within another place of the list, and what is there twice; the rest in the order of [`order_of_change`].
pub(super) fn outermost(mut places: Vec<Location>) -> Vec<Location> {
    let by_steps = |a: &Location, b: &Location| {
        let step = |(a, b): (&Step, &Step)| match (a, b) {
            (Step::Key(a), Step::Key(b)) => a.as_str().cmp(b.as_str()),
            (Step::Index(a), Step::Index(b)) => a.cmp(b),
            (Step::Key(_), Step::Index(_)) => Ordering::Less,
            (Step::Index(_), Step::Key(_)) => Ordering::Greater,
        };
        let differing = a.steps().iter().zip(b.steps()).map(step).find(|order| order.is_ne());
        differing.unwrap_or(a.steps().len().cmp(&b.steps().len()))
    };
    places.sort_by(by_steps);
    let mut kept: Vec<Location> = Vec::with_capacity(places.len());
    for place in places {
        if !kept.last().is_some_and(|outer| place.steps().starts_with(outer.steps())) {
            kept.push(place);
        }
    }
    kept.sort_by(order_of_change);
    kept
}

/// What is deeper before what it is in, later elements before earlier ones, fields by their names. The last matters for
/// what remains: a field that goes leaves its place to the last one.
pub(super) fn order_of_change(a: &Location, b: &Location) -> Ordering {
    // A name that is a number counts as one.
    let number = |step: &Step| match step {
        Step::Index(index) => Some(*index),
        Step::Key(name) => name.parse().ok(),
    };
    let step = |(a, b): (&Step, &Step)| match (number(a), number(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => match (a, b) {
            (Step::Key(a), Step::Key(b)) => a.as_str().cmp(b.as_str()),
            _ => Ordering::Equal,
        },
    };
    let differing = a.steps().iter().zip(b.steps()).map(step).find(|order| order.is_ne());
    differing.unwrap_or(b.steps().len().cmp(&a.steps().len()))
}
