//! The numbers of the format, as Redis names them.

/// The version that we write: Redis 7.2's.
pub const VERSION: u16 = 11;
/// The oldest version that we write, for whoever reads no newer one: Redis 7.0's.
pub const VERSION_OLDEST: u16 = 10;
/// The version that we write where there are fields that expire: Redis 7.4's.
pub const VERSION_FIELD_TIMES: u16 = 12;
/// The versions that we read: all of Redis's up to 7.4's.
pub const VERSIONS: std::ops::RangeInclusive<u16> = 1..=12;
/// The first version that has libraries of functions.
pub const LIBRARIES_VERSION: u16 = 10;
/// The first version that ends with a checksum.
pub const VERSION_CHECKSUM: u16 = 5;
pub const MAGIC: &[u8; 5] = b"REDIS";

/// A consumer group's number of entries read, when nobody can tell it.
pub const ENTRIES_READ_UNKNOWN: u64 = u64::MAX;
/// When a consumer last got an entry, if it never did.
pub const NEVER_ACTIVE: i64 = -1;

/// Types of values.
pub mod kind {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const ZSET: u8 = 3;
    pub const HASH: u8 = 4;
    pub const ZSET_2: u8 = 5;
    pub const MODULE_PRE_GA: u8 = 6;
    pub const MODULE_2: u8 = 7;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const ZSET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_QUICKLIST: u8 = 14;
    pub const STREAM_LISTPACKS: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const STREAM_LISTPACKS_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_LISTPACKS_3: u8 = 21;
    /// Hashes with fields that expire, as release candidates of Redis 7.4 wrote them: times are absolute.
    pub const HASH_TIMES_RC: u8 = 22;
    pub const HASH_LISTPACK_TIMES_RC: u8 = 23;
    /// The same since the release: the time of the next field stands before, that of each one is relative to it.
    pub const HASH_TIMES: u8 = 24;
    /// Fields, values and times in turn, in the order of the times; 0: none. The time of the next field stands before.
    pub const HASH_LISTPACK_TIMES: u8 = 25;
}

/// What stands in a listpack for a field that does not expire.
pub const NO_FIELD_TIME: i64 = 0;
/// The latest time that a field can have, in Unix milliseconds: Redis has 48 bits for it.
pub const FIELD_TIME_MAX_MS: i64 = (1 << 48) - 1;

/// What stands where a type could stand.
pub mod opcode {
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION2: u8 = 245;
    pub const FUNCTION_PRE_GA: u8 = 246;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQ: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZEDB: u8 = 251;
    pub const EXPIRETIME_MS: u8 = 252;
    pub const EXPIRETIME: u8 = 253;
    pub const SELECTDB: u8 = 254;
    pub const EOF: u8 = 255;
}

/// First byte of a length: the two high bits say how it goes on.
///
/// ```text
/// 00nnnnnn                    6 bits
/// 01nnnnnn nnnnnnnn           14 bits
/// 10000000 n × 4              32 bits, big endian
/// 10000001 n × 8              64 bits, big endian
/// 11eeeeee                    not a length: a string in encoding e
/// ```
pub mod len {
    pub const BITS_14: u8 = 0x40;
    pub const BITS_32: u8 = 0x80;
    pub const BITS_64: u8 = 0x81;
    pub const ENCODED: u8 = 0xc0;
    pub const INT8: u8 = ENCODED;
    pub const INT16: u8 = ENCODED | 1;
    pub const INT32: u8 = ENCODED | 2;
    pub const LZF: u8 = ENCODED | 3;
}

/// Containers of a list's nodes.
pub mod node {
    pub const PLAIN: u64 = 1;
    pub const PACKED: u64 = 2;
}

/// The id of the type `ReJSON-RL` in the version of its encoding that we write, RedisJSON 2.x's and 8's: see `module_id`.
pub const JSON_MODULE_ID: u64 = module_id(b"ReJSON-RL", JSON_ENCODINGS[1]);
/// The encodings of it that we read.
pub const JSON_ENCODINGS: [u64; 2] = [2, 3];

/// The id of the type `trietype0`, suggestions, in the version that every RediSearch reads that knows payloads.
pub const SUGGESTIONS_MODULE_ID: u64 = module_id(b"trietype0", 1);
/// The newest encoding of it that we read: since 1 with payloads, since 2 with counts of documents, which are nothing here.
pub const SUGGESTIONS_ENCODING_MAX: u64 = 2;

/// The id of the type `vectorset`, Redis 8's vector sets, in the one version of its encoding.
pub const VECTOR_SET_MODULE_ID: u64 = module_id(b"vectorset", 0);

/// The bits of a module's id that are the version of its encoding.
pub const MODULE_VERSION_MASK: u64 = (1 << 10) - 1;

/// The characters of a module type's name, each standing for its place.
pub const MODULE_CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A module's type as a number: nine characters of six bits above ten bits of a version.
pub const fn module_id(name: &[u8; 9], version: u64) -> u64 {
    let (mut id, mut i) = (0, 0);
    while i < name.len() {
        let mut place = 0;
        while MODULE_CHARACTERS[place] != name[i] {
            place += 1;
        }
        id = id << 6 | place as u64;
        i += 1;
    }
    id << 10 | version
}

/// What stands before each part of a module's data.
pub mod module {
    pub const EOF: u64 = 0;
    pub const UNSIGNED: u64 = 2;
    pub const DOUBLE: u64 = 4;
    pub const STRING: u64 = 5;
}
