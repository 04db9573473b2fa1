//! Hash values. Most are their [`Fields`] and nothing more; a hash of which a field expires has a table of times beside
//! them, made with the first time and dropped with the last one.
//!
//! A time is only a mark here: nothing in this module looks at a clock. That a field whose time has come goes is
//! decided where commands run, and is an effect.

mod fields;
#[cfg(test)]
mod tests;

use std::ops::Deref;

use triomphe::Arc;

pub use self::fields::{Fields, HashLimits, Pairs};
use super::element::{Elem, ElementsError};
use crate::ds::{HashSeed, Listpack, Member, Timetable};

/// A hash. It reads as its [`Fields`]. 16 bytes; cloning shares everything.
#[derive(Clone, Debug)]
pub enum Hash {
    /// No field expires.
    Plain(Fields),
    Timed(Arc<TimedFields>),
}

const _: () = assert!(size_of::<Hash>() == 16);

/// Fields of which some have a time.
#[derive(Clone, Debug)]
pub struct TimedFields {
    fields: Fields,
    /// Never empty. Every name in it is one of the fields.
    times: FieldTimes,
}

/// When fields expire, in Unix milliseconds.
pub type FieldTimes = Timetable<14>;

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Hash {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        match self {
            Self::Plain(fields) => fields,
            Self::Timed(timed) => &timed.fields,
        }
    }
}

impl Hash {
    /// An empty hash.
    pub fn new() -> Self {
        Self::Plain(Fields::new())
    }

    /// An empty hash that is about to get `fields` fields (fewer, if some of them are the same).
    pub fn for_fields(fields: usize, limits: &HashLimits) -> Self {
        Self::Plain(Fields::for_fields(fields, limits))
    }

    /// Takes over a listpack from outside (validated as such): fields and values in turn, no field twice.
    pub fn from_listpack(pack: Listpack, limits: &HashLimits) -> Result<Self, ElementsError> {
        Fields::from_listpack(pack, limits).map(Self::Plain)
    }

    /// A command is about to set so many fields: a compact hash that could not hold them becomes a table first.
    pub fn expect_fields(&mut self, fields: usize, limits: &HashLimits) {
        self.fields_mut().expect_fields(fields, limits);
    }

    /// Sets a field, which has no time any more; true when it is new.
    pub fn set<'a>(&mut self, field: &[u8], value: impl Into<Elem<'a>>, limits: &HashLimits) -> bool {
        let made = self.set_keeping_time(field, value, limits);
        if !made {
            self.persist(field);
        }
        made
    }

    /// Sets a field and leaves its time as it is; true when it is new.
    pub fn set_keeping_time<'a>(
        &mut self,
        field: &[u8],
        value: impl Into<Elem<'a>>,
        limits: &HashLimits,
    ) -> bool {
        self.fields_mut().set(field, value, limits)
    }

    /// Removes a field with its time; false when it was not there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let removed = self.fields_mut().remove(field);
        if removed {
            self.persist(field);
        }
        removed
    }

    /// Has any field a time?
    pub fn has_times(&self) -> bool {
        matches!(self, Self::Timed(_))
    }

    /// All times, if any field has one.
    pub fn times(&self) -> Option<&FieldTimes> {
        match self {
            Self::Plain(_) => None,
            Self::Timed(timed) => Some(&timed.times),
        }
    }

    /// When the field expires; `None`: never, or no such field.
    pub fn time_of(&self, field: &[u8]) -> Option<i64> {
        self.times()?.get(field)
    }

    /// When the first field expires.
    pub fn next_time(&self) -> Option<i64> {
        Some(self.times()?.first()?.0)
    }

    /// Do all fields expire by then?
    pub fn is_gone_by(&self, now_ms: i64) -> bool {
        self.times().is_some_and(|times| {
            times.len() == self.len() && times.last_ms().is_some_and(|last_ms| last_ms <= now_ms)
        })
    }

    /// Up to `count` fields that expire by then, the first ones first.
    pub fn due_by(&self, now_ms: i64, count: usize) -> Vec<Member> {
        let times = self.times().into_iter().flat_map(FieldTimes::iter);
        times.take_while(|(at_ms, _)| *at_ms <= now_ms).take(count).map(|(_, name)| name.clone()).collect()
    }

    /// Gives a field that is there a time, in place of the one that it may have.
    pub fn set_time(&mut self, field: &[u8], at_ms: i64, seed: HashSeed) {
        let name = self.name_of(field).expect("a time is given to a field that is there");
        if let Self::Plain(fields) = self {
            let timed = TimedFields { fields: std::mem::take(fields), times: FieldTimes::new() };
            *self = Self::Timed(Arc::new(timed));
        }
        if let Self::Timed(timed) = self {
            Arc::make_mut(timed).times.insert(&name, at_ms, seed);
        }
    }

    /// Takes a field's time away. False when it had none.
    pub fn persist(&mut self, field: &[u8]) -> bool {
        let Self::Timed(timed) = self else { return false };
        if timed.times.get(field).is_none() {
            return false;
        }
        let timed = Arc::make_mut(timed);
        timed.times.remove(field);
        if timed.times.is_empty() {
            *self = Self::Plain(std::mem::take(&mut timed.fields));
        }
        true
    }

    /// OBJECT ENCODING's reply.
    pub fn encoding(&self) -> &'static str {
        match (self, self.as_listpack()) {
            (Self::Plain(_), Some(_)) => "listpack",
            (Self::Timed(_), Some(_)) => "listpackex",
            (_, None) => "hashtable",
        }
    }

    /// Elements that dropping the value must visit.
    pub fn drop_effort(&self) -> usize {
        (**self).drop_effort() + self.times().map_or(0, FieldTimes::len)
    }

    /// Bytes of heap that the value holds; `samples` fields stand for the rest (0: all).
    pub fn heap_size(&self, samples: usize) -> usize {
        let fields = (**self).heap_size(samples);
        match self {
            Self::Plain(_) => fields,
            Self::Timed(timed) => {
                fields + size_of::<usize>() + size_of::<TimedFields>() + timed.times.heap_size()
            }
        }
    }

    fn fields_mut(&mut self) -> &mut Fields {
        match self {
            Self::Plain(fields) => fields,
            Self::Timed(timed) => &mut Arc::make_mut(timed).fields,
        }
    }
}

impl<'a> IntoIterator for &'a Hash {
    type Item = (Elem<'a>, Elem<'a>);
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Pairs<'a> {
        self.iter()
    }
}
