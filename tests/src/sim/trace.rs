//! Everything that happened, in order and with the simulated time: as a hash always, as lines if wanted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::machine;

/// How much goes into the trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Lines are printed.
    pub print: bool,
    /// What openraft and the nodes note for developers, and every message on the network with its bytes.
    pub deep: bool,
}

static PRINT: AtomicBool = AtomicBool::new(false);
static HASH: AtomicU64 = AtomicU64::new(0xcbf2_9ce4_8422_2325);
static LINES: AtomicU64 = AtomicU64::new(0);
/// How often the nodes have logged what, by the beginning of the text.
static STORY: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// Names of the spans that are open; the innermost last.
    static OPEN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    static NAMES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// From now on everything is noted.
pub fn begin(detail: Detail) {
    PRINT.store(detail.print, Relaxed);
    tracing::subscriber::set_global_default(Tracer { detail }).expect("there is one simulation in a process");
}

/// The hash of all lines so far, and how many there are.
pub fn hash() -> (u64, u64) {
    (HASH.load(Relaxed), LINES.load(Relaxed))
}

/// How often the nodes have logged what.
pub fn story() -> BTreeMap<String, u64> {
    STORY.lock().expect("nothing panics while it has the story").clone()
}

/// Notes what a simulation does.
pub fn line(text: impl FnOnce() -> String) {
    note(&text());
}

fn note(text: &str) {
    let elapsed = turmoil::sim_elapsed().unwrap_or_else(machine::elapsed);
    let node = OPEN.with_borrow(|open| {
        let last = open.last()?;
        NAMES.with_borrow(|names| names.get(*last as usize - 1).cloned())
    });
    let text = format!("{:>10.6} {:<7} {text}", elapsed.as_secs_f64(), node.unwrap_or_default());
    // FNV-1a.
    let mut hash = HASH.load(Relaxed);
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    HASH.store(hash, Relaxed);
    LINES.fetch_add(1, Relaxed);
    if PRINT.load(Relaxed) {
        println!("{text}");
    }
}

/// Turns what the nodes log into lines.
struct Tracer {
    detail: Detail,
}

#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.others, " {name}={value:?}"),
        };
        written.expect("a string takes any text");
    }
}

impl Subscriber for Tracer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let (target, level) = (metadata.target(), *metadata.level());
        if metadata.is_span() {
            // turmoil's, which say which host runs.
            return metadata.name() == "node" && target.starts_with("turmoil");
        }
        match target.split("::").next() {
            Some("turmoil") => self.detail.deep,
            Some("openraft") => self.detail.deep && level <= Level::DEBUG,
            _ if target.starts_with("cairn") => level <= Level::INFO || self.detail.deep,
            _ => false,
        }
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let name = fields.others.trim_start_matches(" name=").trim_matches('"');
        NAMES.with_borrow_mut(|names| {
            let known = names.iter().position(|known| known == name);
            let index = known.unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            });
            Id::from_u64(index as u64 + 1)
        })
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let Fields { message, others } = fields;
        if *metadata.level() <= Level::INFO && metadata.target().starts_with("cairn") {
            let mut story = STORY.lock().expect("nothing panics while it has the story");
            *story.entry(message.clone()).or_default() += 1;
        }
        note(&format!("{:<5} {}: {message}{others}", metadata.level(), metadata.target()));
    }

    fn enter(&self, id: &Id) {
        OPEN.with_borrow_mut(|open| open.push(id.into_u64()));
    }

    fn exit(&self, _: &Id) {
        OPEN.with_borrow_mut(Vec::pop);
    }
}
