//! A snapshot into a file, a value into a payload.

use std::io::{self, Write};

use super::encode::{kind_of, put_value};
use super::format::{MAGIC, VERSION, VERSION_FIELD_TIMES, VERSION_OLDEST, opcode};
use super::writer::Writer;
use super::{AUX_INDEXES, AUX_SEQ, AUX_TIME, AUX_USERS, Aux, crc64, libraries};
use crate::keyspace::evict::UsagePolicy;
use crate::keyspace::{Db, Snapshot};
use crate::value::Value;

/// The AUX fields that [`save`] writes by itself, in this order.
const OWN_FIELDS: [&str; 9] =
    ["redis-ver", "redis-bits", "ctime", "used-mem", AUX_SEQ, AUX_TIME, AUX_USERS, AUX_INDEXES, "aof-base"];

/// Writes the snapshot as an RDB file. `compress` is `rdbcompression`. What has been written is let go of at once, so that
/// the state that goes on meanwhile need not be copied for it any longer. Several pages of buffer and the largest
/// compressed string are all the memory it takes.
pub fn save(snapshot: Snapshot, aux: &Aux, compress: bool, out: &mut dyn Write) -> io::Result<()> {
    save_with(snapshot, aux, compress, out, &mut |_| {}, || Ok(Vec::new()))
}

/// Like [`save`], with AUX fields that are asked for only when everything else has been written: what they say need not
/// be known before. Readers take AUX fields wherever they stand. `each_key` hears how many keys have been written.
pub fn save_with(
    snapshot: Snapshot,
    aux: &Aux,
    compress: bool,
    out: &mut dyn Write,
    each_key: &mut dyn FnMut(u64),
    last: impl FnOnce() -> io::Result<Vec<(&'static str, String)>>,
) -> io::Result<()> {
    save_to(Writer::to_sink(out, compress), snapshot, aux, each_key, last)
}

/// Writes the snapshot for a replica of Redis's kind that reads files of `version` and older ([`VERSION`] at the most,
/// [`VERSION_OLDEST`] at the least): nothing that is only Cairn's is in it. Where fields of hashes expire there is no such
/// old file: it is of the version that has them.
pub fn save_for_replica(
    mut snapshot: Snapshot,
    version: u16,
    compress: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    snapshot.users = None;
    snapshot.indexes = None;
    let version = version.clamp(VERSION_OLDEST, VERSION);
    let writer = Writer::to_sink(out, compress).in_version(version);
    save_to(writer, snapshot, &Aux::default(), &mut |_| {}, || Ok(Vec::new()))
}

fn save_to(
    mut writer: Writer<'_>,
    snapshot: Snapshot,
    aux: &Aux,
    each_key: &mut dyn FnMut(u64),
    last: impl FnOnce() -> io::Result<Vec<(&'static str, String)>>,
) -> io::Result<()> {
    writer.raw(MAGIC);
    let has_times = snapshot.dbs.iter().any(|db| !db.field_expiries.is_empty());
    let version = if has_times { VERSION_FIELD_TIMES } else { writer.version() };
    writer.raw(format!("{version:04}").as_bytes());
    put_aux(&mut writer, aux, &snapshot);
    libraries::put(&mut writer, &snapshot.libraries);
    let usage = snapshot.usage;
    let mut keys = 0;
    let mut key_done = || {
        keys += 1;
        each_key(keys);
    };
    for (index, db) in snapshot.dbs.into_iter().enumerate().filter(|(_, db)| !db.is_empty()) {
        put_db(&mut writer, index, db, &usage, &mut key_done);
    }
    for (name, value) in last()? {
        put_aux_field(&mut writer, name, &value);
    }
    writer.byte(opcode::EOF);
    writer.finish()
}

/// DUMP's payload: type, value, version, checksum.
pub fn dump_value(value: &Value) -> Vec<u8> {
    dump_in(value, VERSION)
}

/// The same for the oldest reader there is, if it can have such a value at all.
pub fn dump_portable(value: &Value) -> Vec<u8> {
    dump_in(value, VERSION_OLDEST)
}

fn dump_in(value: &Value, version: u16) -> Vec<u8> {
    let mut writer = Writer::in_memory(true).in_version(version);
    writer.byte(kind_of(value, version));
    put_value(&mut writer, value);
    with_footer(writer.into_vec(), if value.has_times() { VERSION_FIELD_TIMES } else { version })
}

/// Type and value, made a payload of this version.
pub fn with_footer(mut payload: Vec<u8>, version: u16) -> Vec<u8> {
    payload.extend_from_slice(&version.to_le_bytes());
    let crc = crc64::update(0, &payload);
    payload.extend_from_slice(&crc.to_le_bytes());
    payload
}

fn put_aux_field(writer: &mut Writer<'_>, name: &str, value: &str) {
    writer.byte(opcode::AUX);
    writer.string(name.as_bytes());
    writer.string(value.as_bytes());
}

fn put_aux(writer: &mut Writer<'_>, aux: &Aux, snapshot: &Snapshot) {
    let created_at_s = if aux.created_at_s == 0 { snapshot.taken_at_ms / 1000 } else { aux.created_at_s };
    let mut put = |name: &str, value: &str| put_aux_field(writer, name, value);
    put("redis-ver", "7.4.0");
    put("redis-bits", "64");
    put("ctime", &created_at_s.to_string());
    put("used-mem", &aux.used_memory.to_string());
    if let Some(seq) = aux.seq {
        put(AUX_SEQ, &seq.to_string());
        put(AUX_TIME, &snapshot.taken_at_ms.to_string());
    }
    if let Some(users) = &snapshot.users {
        put(AUX_USERS, users);
    }
    if let Some(indexes) = &snapshot.indexes {
        put(AUX_INDEXES, indexes);
    }
    put("aof-base", "0");
    for (name, value) in &aux.other {
        // `%` marks what loading found out, see `Aux::other`.
        if !OWN_FIELDS.contains(&name.as_str()) && !name.starts_with('%') {
            put(name, value);
        }
    }
}

fn put_db(writer: &mut Writer<'_>, index: usize, db: Db, usage: &UsagePolicy, key_done: &mut dyn FnMut()) {
    writer.byte(opcode::SELECTDB);
    writer.len(index);
    writer.byte(opcode::RESIZEDB);
    writer.len(db.dict.len());
    writer.len(db.expires.len());
    let expires = db.expires;
    db.dict.consume(&mut |entry| {
        if let Some(at_ms) = expires.get(&entry.key).map(|entry| entry.at_ms) {
            writer.byte(opcode::EXPIRETIME_MS);
            writer.i64_le(at_ms);
        }
        if usage.is_lru() {
            writer.byte(opcode::IDLE);
            writer.number(usage.idle_seconds(entry.usage()));
        } else if usage.is_lfu() {
            writer.byte(opcode::FREQ);
            writer.byte(usage.decayed(entry.usage()) as u8);
        }
        writer.byte(kind_of(&entry.value, writer.version()));
        writer.string(&entry.key);
        put_value(writer, &entry.value);
        key_done();
        !writer.has_failed()
    });
}
