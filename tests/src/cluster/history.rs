//! What clients saw: operations with the moments at which they were called and had returned.
//!
//! One [`History`] is of one object: a key, or a pair of keys that is only ever written in one MULTI. Every element and
//! every value ever written is a different number, so that what a read shows can be traced to the one operation that
//! wrote it.

use std::fmt;

/// Nanoseconds since the recorder started.
pub type Moment = u64;

/// The return of an operation whose outcome the client never learnt: it may take effect at any later time, or never.
pub const NEVER: Moment = Moment::MAX;

/// The unique number that an operation writes.
pub type Element = u64;

/// What kind of object a history is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// SET, GET, compare-and-set.
    Register,
    /// Two keys that one MULTI sets to the same value. A register that shows whether a transaction came apart.
    Pair,
    /// INCR, GET.
    Counter,
    /// RPUSH, LRANGE.
    List,
    /// SADD, SMEMBERS.
    Set,
    /// XADD, XRANGE.
    Stream,
    /// RPUSH, LPOP, BLPOP; LRANGE at the end.
    Queue,
    /// HSETEX with a time, HKEYS.
    Fields,
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::Register,
        Kind::Pair,
        Kind::Counter,
        Kind::List,
        Kind::Set,
        Kind::Stream,
        Kind::Queue,
        Kind::Fields,
    ];

    /// The first letter of the keys' names.
    pub fn letter(self) -> &'static str {
        match self {
            Kind::Register => "r",
            Kind::Pair => "p",
            Kind::Counter => "c",
            Kind::List => "l",
            Kind::Set => "s",
            Kind::Stream => "x",
            Kind::Queue => "q",
            Kind::Fields => "h",
        }
    }
}

/// Where an element stands among the others: its place in a list, the two halves of its ID in a stream.
pub type Rank = u128;

/// What was done and, as far as the client was told, what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Register, pair: set to this.
    Write(Element),
    /// Register, pair: this was read.
    Read(Option<Element>),
    /// Register: `from` was there and has been replaced. What a comparison that failed saw is a `Read`.
    Swap { from: Option<Element>, to: Element },
    /// Pair: the two keys did not agree.
    Halves(Option<Element>, Option<Element>),
    /// Counter: one more. The result, if the client was told.
    Increment(Option<u64>),
    /// Counter: this was read.
    Count(u64),
    /// List, stream, queue: one more at the end. The rank, if the client was told.
    Append(Element, Option<Rank>),
    /// List, stream, queue: all elements with their ranks, in order.
    All(Vec<(Element, Rank)>),
    /// Set: one more. Whether it was new, if the client was told.
    Add(Element, Option<bool>),
    /// Fields: one more, for so many nanoseconds.
    Lease(Element, Moment),
    /// Set, fields: all members, in any order.
    Members(Vec<Element>),
    /// Queue: the first was taken away; `None` if there was none, or the outcome is unknown.
    Pop(Option<Element>),
    /// A write that the server refused: nothing of it may ever be seen.
    Refused(Element),
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Who did it.
    pub client: u32,
    pub call: Moment,
    /// [`NEVER`] if the outcome is unknown.
    pub ret: Moment,
    pub action: Action,
}

impl Op {
    pub fn is_known(&self) -> bool {
        self.ret != NEVER
    }

    /// Does it change the object, as far as is known?
    pub fn is_write(&self) -> bool {
        matches!(
            self.action,
            Action::Write(_)
                | Action::Swap { .. }
                | Action::Increment(_)
                | Action::Append(..)
                | Action::Add(..)
                | Action::Lease(..)
                | Action::Pop(Some(_))
        )
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |moment: Moment| moment as f64 / 1e6;
        write!(f, "client {:>2}  {:>11.3} ms .. ", self.client, ms(self.call))?;
        match self.is_known() {
            true => write!(f, "{:>11.3} ms  ", ms(self.ret))?,
            false => write!(f, "    unknown     ")?,
        }
        match &self.action {
            Action::All(elements) if elements.len() > 6 => {
                let (first, last) = (elements[0].0, elements[elements.len() - 1].0);
                write!(f, "All({} elements, {first} .. {last})", elements.len())
            }
            Action::Members(members) if members.len() > 6 => write!(f, "Members({} members)", members.len()),
            action => write!(f, "{action:?}"),
        }
    }
}

/// Everything that was done to one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    pub ops: Vec<Op>,
}

impl History {
    /// The operations around one of them, as lines for people.
    pub fn excerpt(&self, around: Moment) -> String {
        const EACH_SIDE: usize = 12;
        let mut ops: Vec<&Op> = self.ops.iter().collect();
        ops.sort_by_key(|op| op.call);
        let middle = ops.partition_point(|op| op.call <= around);
        let shown = &ops[middle.saturating_sub(EACH_SIDE)..(middle + EACH_SIDE).min(ops.len())];
        shown.iter().map(|op| format!("    {op}\n")).collect()
    }
}
