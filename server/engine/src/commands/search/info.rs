//! FT.INFO.

use cairn_proto::{ReplyWriter, Resp};
use cairn_search::index::Stats;
use cairn_search::schema::{Field, FieldKind, VectorAlgorithm, VectorSpec};

use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::commands::search::query::CURSORS_OF_INDEX_MAX;
use crate::context::Context;
use crate::error::CommandResult;
use crate::search::definition::Definition;
use crate::search::fields::{metric_name, type_name};
use crate::search::settings::DIALECT_MAX;
use crate::search::{Failures, IndexEntry, Progress};

pub(super) static FT_INFO: Command = Command {
    name: "ft.info",
    arity: -2,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    summary: "Describes an index: its definition, what it holds, how far it is built.",
    complexity: "O(N), N being the number of terms",
    syntax: "index",
    run: info,
    ..COMMAND
};

fn info(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let name = args.at(1);
    if cx.use_index(name).is_none() {
        return Err("Unknown index name".into());
    }
    let search = &cx.shared.search;
    let Some(entry) = search.find(name) else { return Ok(()) };
    let part_indexed = search.part_indexed(entry, cx.keys);
    let stats = entry.index.stats();
    let mut map = Map::begin(cx.reply);
    map.text("index_name", &entry.definition.name);
    index_options(&mut map, &entry.definition);
    map.nested("index_definition", |map| index_definition(map, &entry.definition));
    map.list("attributes", |reply| {
        entry.definition.schema.fields().iter().for_each(|field| attribute(reply, field));
        entry.definition.schema.fields().len()
    });
    sizes(&mut map, entry, &stats);
    map.int("hash_indexing_failures", entry.failures.count);
    map.double("total_indexing_time", entry.indexing_us as f64 / 1000.0);
    map.int("indexing", u64::from(entry.progress != Progress::Complete));
    map.double("percent_indexed", part_indexed);
    map.int("number_of_uses", entry.uses);
    map.int("cleaning", 0);
    map.nested("gc_stats", |map| {
        // Cleaning is a part of each write: there are no cycles.
        let none =
            ["bytes_collected", "total_ms_run", "total_cycles", "average_cycle_time_ms", "last_run_time_ms"];
        none.iter().for_each(|name| map.double(name, 0.0));
        map.double("gc_numeric_trees_missed", 0.0);
        map.double("gc_blocks_denied", 0.0);
    });
    map.nested("cursor_stats", |map| {
        // Nobody reads one while another command runs: all of them are idle.
        let (all, own) = search.cursors.count(&entry.definition.name);
        map.int("global_idle", all as u64);
        map.int("global_total", all as u64);
        map.int("index_capacity", CURSORS_OF_INDEX_MAX as u64);
        map.int("index_total", own as u64);
    });
    let stop_words = &entry.definition.schema.options.stop_words;
    if stop_words.is_custom() {
        map.list("stopwords_list", |reply| {
            stop_words.iter().for_each(|word| reply.bulk(word));
            stop_words.iter().count()
        });
    }
    map.nested("dialect_stats", |map| {
        for dialect in 1..=DIALECT_MAX {
            map.int(&format!("dialect_{dialect}"), u64::from(entry.dialects >> dialect & 1));
        }
    });
    map.nested("Index Errors", |map| {
        failures(map, &entry.failures);
        map.text("background indexing status", b"OK");
    });
    map.list("field statistics", |reply| field_statistics(reply, entry));
    map.end();
    Ok(())
}

fn index_options(map: &mut Map<'_>, definition: &Definition) {
    let words = [
        ("NOFREQS", definition.no_frequencies),
        ("NOFIELDS", definition.no_fields),
        ("NOOFFSETS", definition.no_offsets),
        ("NOHL", definition.no_highlights || definition.no_offsets),
        ("MAXTEXTFIELDS", definition.wide),
    ];
    map.list("index_options", |reply| {
        let set = words.iter().filter(|(_, on)| *on);
        set.clone().for_each(|(word, _)| reply.simple(word));
        set.count()
    });
}

fn index_definition(map: &mut Map<'_>, definition: &Definition) {
    map.text("key_type", definition.source.name().as_bytes());
    map.list("prefixes", |reply| {
        definition.prefixes.iter().for_each(|prefix| reply.simple(prefix));
        definition.prefixes.len()
    });
    if let Some((text, _)) = &definition.filter {
        map.text("filter", text);
    }
    let language = definition.schema.options.language;
    // Redis does not say so of English, whose number is zero; nor of a score of zero.
    if language != cairn_search::text::Language::ENGLISH {
        map.text("default_language", language.name().as_bytes());
    }
    if let Some(field) = &definition.language_field {
        map.text("language_field", field);
    }
    if definition.score != 0.0 {
        map.double("default_score", definition.score);
    }
    if let Some(field) = &definition.score_field {
        map.text("score_field", field);
    }
    if let Some(field) = &definition.payload_field {
        map.text("payload_field", field);
    }
    map.text("indexes_all", if definition.index_all { b"true" } else { b"false" });
}

/// In RESP2 the flags stand beside the rest; in RESP3 they are a list.
fn attribute(reply: &mut ReplyWriter, field: &Field) {
    let mut map = Map::begin(reply);
    map.text("identifier", &field.path);
    map.text("attribute", &field.name);
    map.text("type", field.kind.name().as_bytes());
    let (mut case_sensitive, mut nostem, mut suffix) = (false, false, false);
    match &field.kind {
        FieldKind::Text { weight, nostem: plain, with_suffix } => {
            map.double("WEIGHT", *weight);
            (nostem, suffix) = (*plain, *with_suffix);
        }
        FieldKind::Tag { separator, case_sensitive: exact, with_suffix } => {
            map.text("SEPARATOR", separator.as_slice());
            (case_sensitive, suffix) = (*exact, *with_suffix);
        }
        FieldKind::Numeric | FieldKind::Geo => {}
        FieldKind::Vector(spec) => vector_attributes(&mut map, spec),
    }
    let flags = [
        ("CASESENSITIVE", case_sensitive),
        ("SORTABLE", field.sortable),
        ("UNF", field.sortable && field.unf),
        ("NOSTEM", nostem),
        ("NOINDEX", field.noindex),
        ("WITHSUFFIXTRIE", suffix),
        ("INDEXEMPTY", field.index_empty),
        ("INDEXMISSING", field.index_missing),
    ];
    let set: Vec<&str> = flags.iter().filter(|(_, on)| *on).map(|(word, _)| *word).collect();
    if map.reply.resp == Resp::V3 {
        map.list("flags", |reply| {
            set.iter().for_each(|word| reply.simple(word));
            set.len()
        });
        map.end();
    } else {
        set.iter().for_each(|word| map.reply.simple(word));
        map.end_with(set.len());
    }
}

fn vector_attributes(map: &mut Map<'_>, spec: &VectorSpec) {
    let algorithm = match spec.algorithm {
        VectorAlgorithm::Flat => "FLAT",
        VectorAlgorithm::Hnsw(_) => "HNSW",
    };
    map.text("algorithm", algorithm.as_bytes());
    map.text("data_type", type_name(spec.numbers).as_bytes());
    map.int("dim", spec.dim as u64);
    map.text("distance_metric", metric_name(spec.metric).as_bytes());
    if let VectorAlgorithm::Hnsw(hnsw) = spec.algorithm {
        map.int("M", hnsw.m as u64);
        map.int("ef_construction", hnsw.ef_construction as u64);
    }
}

fn sizes(map: &mut Map<'_>, entry: &IndexEntry, stats: &Stats) {
    let megabytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let records = stats.records.saturating_sub(stats.records_dead);
    map.int("num_docs", stats.docs);
    map.int("max_doc_id", u64::from(stats.max_doc_id));
    map.int("num_terms", stats.terms);
    map.int("num_records", records);
    map.double("inverted_sz_mb", megabytes(stats.text_bytes));
    map.double("vector_index_sz_mb", megabytes(stats.vector_bytes));
    map.int("total_inverted_index_blocks", stats.terms);
    // Positions are part of the lists.
    map.double("offset_vectors_sz_mb", 0.0);
    map.double("doc_table_size_mb", megabytes(stats.doc_bytes));
    map.double("sortable_values_size_mb", megabytes(stats.sort_bytes));
    map.double("key_table_size_mb", 0.0);
    map.double("tag_overhead_sz_mb", megabytes(stats.tag_bytes));
    map.double("text_overhead_sz_mb", megabytes(stats.dictionary_bytes));
    let successor = entry.successor_bytes();
    map.double("total_index_memory_sz_mb", megabytes(stats.bytes() + successor));
    map.double("geoshapes_sz_mb", 0.0);
    let per = |a: f64, b: u64| a / b as f64;
    map.double("records_per_doc_avg", per(records as f64, stats.docs));
    map.double("bytes_per_record_avg", per(stats.text_bytes as f64, records));
    map.double("offsets_per_term_avg", per(stats.words as f64, records));
    map.double("offset_bits_per_record_avg", per(stats.text_bytes as f64 * 8.0, stats.words));
}

fn failures(map: &mut Map<'_>, failures: &Failures) {
    const NONE: &[u8] = b"N/A";
    let (why, key) = failures.last.as_ref().map_or((NONE, NONE), |(why, key)| (why.as_bytes(), &**key));
    map.int("indexing failures", failures.count);
    map.text("last indexing error", why);
    map.bulk("last indexing error key", key);
}

fn field_statistics(reply: &mut ReplyWriter, entry: &IndexEntry) -> usize {
    let fields = entry.definition.schema.fields();
    for (at, field) in fields.iter().enumerate() {
        let mut map = Map::begin(reply);
        map.text("identifier", &field.path);
        map.text("attribute", &field.name);
        map.nested("Index Errors", |map| failures(map, &entry.field_failures[at]));
        if let Some(bytes) = entry.index.vector_memory(at) {
            map.int("memory", bytes as u64);
            map.int("marked_deleted", 0);
        }
        map.end();
    }
    fields.len()
}

/// A map that is being written: in RESP2 an array of names and values.
struct Map<'a> {
    reply: &'a mut ReplyWriter,
    start: cairn_proto::Deferred,
    pairs: usize,
}

impl<'a> Map<'a> {
    fn begin(reply: &'a mut ReplyWriter) -> Self {
        let start = reply.defer();
        Self { reply, start, pairs: 0 }
    }

    fn name(&mut self, name: &str) {
        self.reply.simple(name);
        self.pairs += 1;
    }

    fn text(&mut self, name: &str, text: &[u8]) {
        self.name(name);
        // A simple string is one line.
        if text.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            self.reply.bulk(text);
        } else {
            self.reply.simple(text);
        }
    }

    fn bulk(&mut self, name: &str, text: &[u8]) {
        self.name(name);
        self.reply.bulk(text);
    }

    fn int(&mut self, name: &str, value: u64) {
        self.name(name);
        self.reply.int(value as i64);
    }

    fn double(&mut self, name: &str, value: f64) {
        self.name(name);
        self.reply.double(value);
    }

    fn nested(&mut self, name: &str, write: impl FnOnce(&mut Map<'_>)) {
        self.name(name);
        let mut map = Map::begin(self.reply);
        write(&mut map);
        map.end();
    }

    /// `write` answers how many elements it has written.
    fn list(&mut self, name: &str, write: impl FnOnce(&mut ReplyWriter) -> usize) {
        self.name(name);
        let start = self.reply.defer();
        let len = write(self.reply);
        self.reply.finish_array(start, len);
    }

    fn end(self) {
        self.reply.finish_map(self.start, self.pairs);
    }

    /// Ends what is no map in RESP2, for it has so many elements more.
    fn end_with(self, more: usize) {
        self.reply.finish_array(self.start, self.pairs * 2 + more);
    }
}
