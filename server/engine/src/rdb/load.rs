//! A file into databases, a payload into a value.

use super::batch::{Batch, Duplicate};
use super::decode;
use super::error::{LoadError, Problem, RestoreError};
use super::format::{MAGIC, VERSION_CHECKSUM, VERSIONS, opcode};
use super::reader::{Reader, Text};
use super::{AUX_EMPTY_KEYS, AUX_INDEXES, AUX_SEQ, AUX_TIME, AUX_USERS, Aux, crc64};
use crate::config::Config;
use crate::ds::{HashSeed, Key};
use crate::keyspace::evict::{LFU_INIT, LRU_CLOCK_MAX};
use crate::keyspace::{Db, KeyEntry};
use crate::scripting::{Functions, Unattended};
use crate::value::Value;

/// Keys between two reports of progress, and two portions of the checksum.
const PROGRESS_KEYS: u64 = 1024;

/// What loading depends on.
#[derive(Clone, Copy)]
pub struct LoadOptions<'a> {
    /// A file that names another database than these is refused.
    pub databases: usize,
    pub seed: HashSeed,
    /// Decides between encodings (`hash-max-listpack-entries` and the like).
    pub config: &'a Config,
}

/// A file's contents.
pub struct Loaded {
    pub dbs: Vec<Db>,
    pub functions: Functions,
    pub aux: Aux,
}

/// Reads an RDB file. Keys that have expired are there: that they go is the engine's decision, and an effect.
/// `progress` hears from time to time, under `key-load-delay` at each key, how many bytes and keys have been read.
pub fn load(
    bytes: &[u8],
    options: &LoadOptions<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Loaded, LoadError> {
    let mut file = File {
        bytes,
        reader: Reader::new(bytes),
        options,
        loaded: Loaded {
            dbs: (0..options.databases).map(|_| Db::new(options.seed)).collect(),
            functions: Functions::new(),
            aux: Aux::default(),
        },
        db: 0,
        batch: Batch::default(),
        key: None,
        offset: None,
        keys: 0,
        empty_keys: 0,
        crc: 0,
        crc_pos: 0,
    };
    match file.read(progress) {
        Ok(()) => Ok(file.loaded),
        Err(problem) => {
            let offset = file.offset.unwrap_or(file.reader.item());
            Err(LoadError { offset, key: file.key.map(|key| key.to_vec()), problem })
        }
    }
}

/// Reads a payload of DUMP, of ours or of any version of Redis that we can read.
pub fn load_value(payload: &[u8], options: &LoadOptions<'_>) -> Result<Value, RestoreError> {
    let body = checked_body(payload)?;
    if body.is_empty() {
        return Err(RestoreError::Footer);
    }
    let mut reader = Reader::new(body);
    read_payload(&mut reader, options).map_err(RestoreError::Payload)
}

/// What stands before the footer of a payload, if that is right.
pub(super) fn checked_body(payload: &[u8]) -> Result<&[u8], RestoreError> {
    let Some((checked, crc)) = payload.split_last_chunk::<8>() else { return Err(RestoreError::Footer) };
    let Some((body, version)) = checked.split_last_chunk::<2>() else { return Err(RestoreError::Footer) };
    let known = u16::from_le_bytes(*version) <= *VERSIONS.end();
    if !known || u64::from_le_bytes(*crc) != crc64::update(0, checked) {
        return Err(RestoreError::Footer);
    }
    Ok(body)
}

fn read_payload(reader: &mut Reader<'_>, options: &LoadOptions<'_>) -> Result<Value, Problem> {
    let kind = reader.byte()?;
    let value = decode::value(reader, kind, options)?;
    match reader.left() {
        0 => Ok(value),
        left => Err(Problem::Trailing(left as u64)),
    }
}

struct File<'a> {
    bytes: &'a [u8],
    reader: Reader<'a>,
    options: &'a LoadOptions<'a>,
    loaded: Loaded,
    db: usize,
    /// Keys that are not in the database yet.
    batch: Batch,
    /// The key to which an error belongs.
    key: Option<Key>,
    /// Where an error is, if it is not in the newest item.
    offset: Option<u64>,
    keys: u64,
    empty_keys: u64,
    crc: u64,
    /// Up to where `crc` goes.
    crc_pos: usize,
}

/// What may stand before a key, about it.
#[derive(Default)]
struct Attributes {
    expire_at_ms: Option<i64>,
    idle_s: Option<u64>,
    frequency: Option<u8>,
}

impl File<'_> {
    fn read(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), Problem> {
        let version = self.read_header()?;
        let mut attributes = Attributes::default();
        loop {
            match self.reader.byte()? {
                opcode::EOF => break self.insert(Batch::flush)?,
                opcode::EXPIRETIME_MS => attributes.expire_at_ms = Some(self.reader.i64_le()?),
                opcode::EXPIRETIME => {
                    let seconds = i32::from_le_bytes(self.reader.array()?);
                    attributes.expire_at_ms = Some(i64::from(seconds) * 1000);
                }
                opcode::IDLE => attributes.idle_s = Some(self.reader.len()?),
                opcode::FREQ => attributes.frequency = Some(self.reader.byte()?),
                opcode::AUX => self.read_aux()?,
                opcode::SELECTDB => self.select()?,
                // Hints about sizes: our tables grow without a pause. SLOT_INFO has three of them.
                opcode::RESIZEDB => self.skip_numbers(2)?,
                opcode::SLOT_INFO => self.skip_numbers(3)?,
                opcode::FUNCTION2 => self.read_library()?,
                opcode::FUNCTION_PRE_GA => return Err(Problem::FunctionPreGa),
                opcode::MODULE_AUX => return Err(Problem::Module(decode::module_name(self.reader.len()?))),
                kind => {
                    self.read_key(kind, std::mem::take(&mut attributes))?;
                    let portion = self.keys.is_multiple_of(PROGRESS_KEYS);
                    if portion {
                        self.checksum_so_far();
                    }
                    if portion || self.options.config.key_load_delay != 0 {
                        progress(self.reader.pos() as u64, self.keys);
                    }
                }
            }
        }
        if version >= VERSION_CHECKSUM {
            self.checksum_so_far();
            let stored = u64::from_le_bytes(self.reader.array()?);
            // 0: saved with `rdbchecksum no`.
            if stored != 0 && stored != self.crc {
                return Err(Problem::Checksum { stored, computed: self.crc });
            }
        }
        if self.reader.left() > 0 {
            return Err(Problem::Trailing(self.reader.left() as u64));
        }
        if self.empty_keys > 0 {
            self.note(AUX_EMPTY_KEYS, self.empty_keys.to_string());
        }
        progress(self.reader.pos() as u64, self.keys);
        Ok(())
    }

    fn read_header(&mut self) -> Result<u16, Problem> {
        if self.reader.left() < MAGIC.len() + 4 || self.reader.array()? != *MAGIC {
            return Err(Problem::NotRdb);
        }
        let digits: [u8; 4] = self.reader.array()?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(Problem::NotRdb);
        }
        let version = digits.iter().fold(0, |version, digit| version * 10 + u16::from(digit - b'0'));
        if VERSIONS.contains(&version) { Ok(version) } else { Err(Problem::Version(version.into())) }
    }

    fn read_aux(&mut self) -> Result<(), Problem> {
        let name = text(&self.reader.string()?);
        let value = text(&self.reader.string()?);
        let aux = &mut self.loaded.aux;
        match name.as_str() {
            AUX_SEQ => match value.parse() {
                Ok(seq) => aux.seq = Some(seq),
                // Guessing here could replay a log onto the wrong state.
                Err(_) => return Err(Problem::Content("the journal position is not a number")),
            },
            AUX_TIME => match value.parse() {
                Ok(at_ms) => aux.taken_at_ms = Some(at_ms),
                // Without it time could run behind what has expired already.
                Err(_) => return Err(Problem::Content("the snapshot's time is not a number")),
            },
            AUX_USERS => aux.users = Some(value),
            AUX_INDEXES => aux.indexes = Some(value),
            "ctime" => aux.created_at_s = value.parse().unwrap_or(0),
            "used-mem" => aux.used_memory = value.parse().unwrap_or(0),
            _ => aux.other.push((name, value)),
        }
        Ok(())
    }

    fn read_library(&mut self) -> Result<(), Problem> {
        let code = self.reader.string()?;
        let functions = &mut self.loaded.functions;
        // What a library logs has been logged when it was loaded first.
        let loaded = code.with_bytes(|code| functions.load(code, false, &mut Unattended));
        loaded.map(drop).map_err(|error| Problem::Library(error.to_string()))
    }

    fn select(&mut self) -> Result<(), Problem> {
        let index = self.reader.len()?;
        self.insert(Batch::flush)?;
        self.db = match usize::try_from(index) {
            Ok(db) if db < self.options.databases => db,
            _ => return Err(Problem::Database { index, databases: self.options.databases }),
        };
        Ok(())
    }

    fn skip_numbers(&mut self, count: usize) -> Result<(), Problem> {
        (0..count).try_for_each(|_| self.reader.len().map(drop))
    }

    fn read_key(&mut self, kind: u8, attributes: Attributes) -> Result<(), Problem> {
        if !decode::is_kind(kind) {
            return Err(Problem::UnknownType(kind));
        }
        let key: Key = self.reader.string()?.into_blob();
        let offset = self.reader.item();
        match decode::value(&mut self.reader, kind, self.options) {
            Ok(value) => {
                let entry = KeyEntry::new(key, value, self.usage(&attributes));
                self.insert(|batch, db| batch.push(db, entry, attributes.expire_at_ms, offset))?;
            }
            // Old versions could save such keys; Redis leaves them out, too.
            Err(Problem::Empty) => self.empty_keys += 1,
            Err(problem) => {
                self.key = Some(key);
                return Err(problem);
            }
        }
        self.keys += 1;
        Ok(())
    }

    /// Does something with the selected database that may put keys into it.
    fn insert(
        &mut self,
        into: impl FnOnce(&mut Batch, &mut Db) -> Result<(), Duplicate>,
    ) -> Result<(), Problem> {
        let Some(db) = self.loaded.dbs.get_mut(self.db) else {
            return Err(Problem::Database { index: self.db as u64, databases: self.options.databases });
        };
        into(&mut self.batch, db).map_err(|Duplicate { key, offset }| {
            self.key = Some(key);
            self.offset = Some(offset);
            Problem::DuplicateKey
        })
    }

    /// The key's LRU or LFU word, seen from the moment when the file was made.
    fn usage(&self, attributes: &Attributes) -> u32 {
        let created_at_s = self.loaded.aux.created_at_s;
        if self.options.config.maxmemory_policy.is_lfu() {
            let minute = (created_at_s / 60) as u32 & 0xffff;
            return minute << 8 | attributes.frequency.map_or(LFU_INIT, u32::from);
        }
        let idle_s = attributes.idle_s.unwrap_or(0).min(u64::from(LRU_CLOCK_MAX)) as u32;
        (created_at_s as u32).wrapping_sub(idle_s) & LRU_CLOCK_MAX
    }

    fn checksum_so_far(&mut self) {
        let pos = self.reader.pos();
        self.crc = crc64::update(self.crc, &self.bytes[self.crc_pos..pos]);
        self.crc_pos = pos;
    }

    fn note(&mut self, name: &str, value: String) {
        self.loaded.aux.other.push((name.to_owned(), value));
    }
}

fn text(text: &Text<'_>) -> String {
    text.with_bytes(|bytes| String::from_utf8_lossy(bytes).into_owned())
}
