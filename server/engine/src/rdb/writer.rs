//! Writes lengths, strings and numbers, into memory or through a buffer to a sink, with the running checksum.

use std::io::{self, Write};

use super::crc64;
use super::format::{VERSION, len};
use super::lzf::Compressor;
use crate::args::parse_i64;

/// What is gathered before it goes to the sink.
const BUFFER_LEN: usize = 64 * 1024;
/// Strings from here on go to the sink without being copied into the buffer.
const DIRECT_MIN: usize = 16 * 1024;
/// Shorter strings are not compressed.
const COMPRESS_MIN: usize = 21;
/// The longest text that can be an integer of 32 bits.
const INT32_TEXT_MAX: usize = 11;

/// Writing never fails; [`Writer::finish`] tells the sink's first error, and nothing goes to the sink after it.
pub struct Writer<'a> {
    sink: Option<&'a mut dyn Write>,
    buf: Vec<u8>,
    crc: u64,
    compress: bool,
    /// The version of the format that values are written in.
    version: u16,
    /// Made for the first string that is long enough.
    lzf: Option<Compressor>,
    packed: Vec<u8>,
    failed: Option<io::Error>,
}

impl<'a> Writer<'a> {
    /// Writes to a sink.
    pub fn to_sink(sink: &'a mut dyn Write, compress: bool) -> Self {
        Self {
            sink: Some(sink),
            buf: Vec::with_capacity(BUFFER_LEN + DIRECT_MIN),
            ..Self::in_memory(compress)
        }
    }

    /// Gathers everything; see [`Writer::into_vec`].
    pub fn in_memory(compress: bool) -> Self {
        Self {
            sink: None,
            buf: Vec::new(),
            crc: 0,
            compress,
            version: VERSION,
            lzf: None,
            packed: Vec::new(),
            failed: None,
        }
    }

    /// Values are written as this version has them, one that we can write.
    pub fn in_version(self, version: u16) -> Self {
        Self { version, ..self }
    }

    /// The version of the format that values are written in.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Did the sink fail? Then there is no use in writing on.
    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Appends the checksum of everything, and hands the rest to the sink.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush();
        let crc = self.crc;
        self.raw(&crc.to_le_bytes());
        self.flush();
        self.failed.map_or(Ok(()), Err)
    }

    /// Everything that was written, without a checksum. Only of a writer in memory.
    pub fn into_vec(self) -> Vec<u8> {
        debug_assert!(self.sink.is_none(), "what went to a sink is gone");
        self.buf
    }

    #[inline]
    pub fn byte(&mut self, byte: u8) {
        self.buf.push(byte);
        self.make_room();
    }

    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        if bytes.len() >= DIRECT_MIN && self.sink.is_some() {
            self.flush();
            self.hand_over(bytes);
            return;
        }
        self.buf.extend_from_slice(bytes);
        self.make_room();
    }

    #[inline]
    pub fn len(&mut self, len: usize) {
        self.number(len as u64);
    }

    /// An unsigned number, in as many bytes as it needs.
    #[inline]
    pub fn number(&mut self, number: u64) {
        if number < 1 << 6 {
            self.byte(number as u8);
        } else if number < 1 << 14 {
            self.raw(&[len::BITS_14 | (number >> 8) as u8, number as u8]);
        } else if let Ok(number) = u32::try_from(number) {
            self.byte(len::BITS_32);
            self.raw(&number.to_be_bytes());
        } else {
            self.byte(len::BITS_64);
            self.raw(&number.to_be_bytes());
        }
    }

    /// A string: as an integer if it is the text of one, compressed if that makes it shorter, or as it is.
    #[inline]
    pub fn string(&mut self, bytes: &[u8]) {
        if bytes.len() <= INT32_TEXT_MAX
            && let Some(value) = parse_i64(bytes)
            && let Ok(value) = i32::try_from(value)
        {
            self.small_int(value);
        } else if bytes.len() < COMPRESS_MIN || !self.compressed(bytes) {
            self.len(bytes.len());
            self.raw(bytes);
        }
    }

    /// The decimal text of an integer as a string.
    pub fn int_string(&mut self, value: i64) {
        match i32::try_from(value) {
            Ok(value) => self.small_int(value),
            Err(_) => {
                let mut buf = itoa::Buffer::new();
                let text = buf.format(value).as_bytes();
                self.len(text.len());
                self.raw(text);
            }
        }
    }

    pub fn i64_le(&mut self, value: i64) {
        self.raw(&value.to_le_bytes());
    }

    /// A double in eight bytes.
    pub fn double(&mut self, value: f64) {
        self.raw(&value.to_le_bytes());
    }

    fn small_int(&mut self, value: i32) {
        if let Ok(value) = i8::try_from(value) {
            self.raw(&[len::INT8, value as u8]);
        } else if let Ok(value) = i16::try_from(value) {
            let [a, b] = value.to_le_bytes();
            self.raw(&[len::INT16, a, b]);
        } else {
            let [a, b, c, d] = value.to_le_bytes();
            self.raw(&[len::INT32, a, b, c, d]);
        }
    }

    fn compressed(&mut self, bytes: &[u8]) -> bool {
        if !self.compress {
            return false;
        }
        let mut packed = std::mem::take(&mut self.packed);
        packed.clear();
        let lzf = self.lzf.get_or_insert_with(Compressor::new);
        // Redis's own bar: four bytes less than the string.
        let shorter = lzf.compress(bytes, bytes.len() - 4, &mut packed);
        if shorter {
            self.byte(len::LZF);
            self.len(packed.len());
            self.len(bytes.len());
            self.raw(&packed);
        }
        self.packed = packed;
        shorter
    }

    #[inline]
    fn make_room(&mut self) {
        if self.buf.len() >= BUFFER_LEN && self.sink.is_some() {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let mut buf = std::mem::take(&mut self.buf);
        self.hand_over(&buf);
        buf.clear();
        self.buf = buf;
    }

    fn hand_over(&mut self, bytes: &[u8]) {
        self.crc = crc64::update(self.crc, bytes);
        if self.failed.is_none()
            && let Some(sink) = &mut self.sink
        {
            self.failed = sink.write_all(bytes).err();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::Reader;
    use super::*;

    #[test]
    fn numbers_take_as_few_bytes_as_they_can() {
        for (number, len) in [(63, 1), (64, 2), (16_383, 2), (16_384, 5), (u32::MAX as u64, 5), (1 << 32, 9)]
        {
            let mut writer = Writer::in_memory(false);
            writer.number(number);
            let bytes = writer.into_vec();
            assert_eq!(bytes.len(), len, "{number}");
            assert_eq!(Reader::new(&bytes).len(), Ok(number));
        }
    }

    #[test]
    fn strings_come_back_in_every_encoding() {
        let long = "compressible ".repeat(2000);
        for (text, len) in [
            ("0", 2),
            ("-129", 3),
            ("2147483647", 5),
            ("2147483648", 11),
            ("007", 4),
            ("", 1),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 8),
            (&long, 319),
        ] {
            let mut writer = Writer::in_memory(true);
            writer.string(text.as_bytes());
            let bytes = writer.into_vec();
            assert_eq!(Reader::new(&bytes).string().expect("a string").to_vec(), text.as_bytes());
            assert_eq!(bytes.len(), len, "{} bytes of text", text.len());
        }
    }

    #[test]
    fn a_sink_gets_the_same_bytes_as_memory() {
        let texts =
            ["short".to_owned(), "x".repeat(DIRECT_MIN), "y".repeat(3 * BUFFER_LEN), "end".to_owned()];
        let mut sink = Vec::new();
        let (mut direct, mut memory) = (Writer::to_sink(&mut sink, false), Writer::in_memory(false));
        for text in texts.iter().cycle().take(40) {
            direct.string(text.as_bytes());
            memory.string(text.as_bytes());
        }
        direct.finish().expect("a Vec takes everything");
        let memory = memory.into_vec();
        let (content, crc) = sink.split_last_chunk().expect("a checksum");
        assert!(content == memory, "the sink's bytes differ");
        assert_eq!(u64::from_le_bytes(*crc), crc64::update(0, &memory));
    }

    #[test]
    fn the_first_error_of_the_sink_is_told_at_the_end() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut full = Full;
        let mut writer = Writer::to_sink(&mut full, false);
        writer.string(&[b'x'; DIRECT_MIN]);
        assert!(writer.has_failed());
        assert_eq!(writer.finish().expect_err("full").kind(), io::ErrorKind::StorageFull);
    }
}
