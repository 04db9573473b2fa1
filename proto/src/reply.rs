//! Replies: one method per element, in the form of the connection's protocol version.

use bytes::Bytes;

use crate::{DOUBLE_TEXT_MAX, OutBuf, Resp, format_double};

/// Bulk strings from this length in bytes on are sent from where they are; shorter ones are cheaper to copy.
pub const SHARED_BULK_MIN: usize = 16 * 1024;

/// The longest line that holds only a type, a 64-bit integer and the line end, rounded up.
const NUMBER_LINE_MAX: usize = 24;

/// Writes reply elements, each as Redis does for the protocol version in `resp`.
///
/// Aggregates are written as their length and then their elements: `array(2)` must be followed by two
/// elements. Where the length is known only afterwards, [`defer`](Self::defer) marks the place for it.
#[derive(Debug, Default)]
pub struct ReplyWriter {
    pub out: OutBuf,
    pub resp: Resp,
}

/// The place of an aggregate whose length is yet to be written. Those within others are finished first; until
/// then nothing at or after this place may be consumed.
#[derive(Debug)]
#[must_use = "an aggregate without its length is not a valid reply"]
pub struct Deferred {
    at: u64,
}

impl Deferred {
    /// The stream offset of the aggregate: [`OutBuf::truncate`] to it takes its elements back.
    pub fn at(&self) -> u64 {
        self.at
    }
}

impl ReplyWriter {
    pub fn new(resp: Resp) -> Self {
        Self { out: OutBuf::new(), resp }
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.append(b"+OK\r\n");
    }

    /// A status such as `PONG`. CR and LF become blanks: they would end it early.
    pub fn simple<T: AsRef<[u8]> + ?Sized>(&mut self, text: &T) {
        self.line(b'+', text.as_ref());
    }

    /// An error, its code included (`ERR syntax error`). Line ends around it go and those within become
    /// blanks, as in Redis.
    pub fn error<T: AsRef<[u8]> + ?Sized>(&mut self, message: &T) {
        let mut message = message.as_ref();
        while let [b'\r' | b'\n', rest @ ..] | [rest @ .., b'\r' | b'\n'] = message {
            message = rest;
        }
        self.line(b'-', message);
    }

    #[inline]
    pub fn int(&mut self, value: i64) {
        let tail = self.out.tail_with_room(NUMBER_LINE_MAX);
        match u8::try_from(value) {
            Ok(digit @ 0..=9) => tail.extend_from_slice(&[b':', b'0' + digit, b'\r', b'\n']),
            _ => {
                tail.push(b':');
                tail.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
                tail.extend_from_slice(b"\r\n");
            }
        }
    }

    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        let tail = self.out.tail_with_room(NUMBER_LINE_MAX + bytes.len() + 2);
        put_length(tail, b'$', bytes.len());
        tail.extend_from_slice(bytes);
        tail.extend_from_slice(b"\r\n");
    }

    /// A bulk string; not copied from [`SHARED_BULK_MIN`] on.
    pub fn bulk_shared(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED_BULK_MIN {
            return self.bulk(&bytes);
        }
        self.length(b'$', bytes.len());
        self.out.push_shared(bytes);
        self.out.append(b"\r\n");
    }

    /// An integer as a bulk string.
    pub fn bulk_int(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A double's text as a bulk string, in both versions.
    pub fn bulk_double(&mut self, value: f64) {
        self.bulk(format_double(value, &mut [0; DOUBLE_TEXT_MAX]).as_bytes());
    }

    /// No value: `$-1`, or RESP3's null.
    #[inline]
    pub fn null(&mut self) {
        self.by_version(b"$-1\r\n", b"_\r\n");
    }

    /// No array: `*-1`, or RESP3's null.
    pub fn null_array(&mut self) {
        self.by_version(b"*-1\r\n", b"_\r\n");
    }

    /// The start of an array of `len` elements.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.length(b'*', len);
    }

    /// The start of a map of `pairs` keys, each followed by its value. In RESP2 an array of both.
    pub fn map(&mut self, pairs: usize) {
        let (prefix, len) = self.map_header(pairs);
        self.length(prefix, len);
    }

    /// The start of a set of `len` elements. In RESP2 an array.
    pub fn set(&mut self, len: usize) {
        self.length(self.prefix(b'~'), len);
    }

    /// The start of an out-of-band message of `len` elements. In RESP2 an array.
    pub fn push(&mut self, len: usize) {
        self.length(self.prefix(b'>'), len);
    }

    /// The start of `pairs` attributes of the element that follows them.
    ///
    /// # Panics
    ///
    /// In RESP2, which cannot express them: the caller leaves them out.
    pub fn attribute(&mut self, pairs: usize) {
        assert_eq!(self.resp, Resp::V3, "attributes need RESP3");
        self.length(b'|', pairs);
    }

    /// A boolean; 1 or 0 in RESP2.
    pub fn bool(&mut self, value: bool) {
        if value { self.by_version(b":1\r\n", b"#t\r\n") } else { self.by_version(b":0\r\n", b"#f\r\n") }
    }

    /// A double; a bulk string in RESP2. See [`format_double`] for its text.
    pub fn double(&mut self, value: f64) {
        self.double_text(format_double(value, &mut [0; DOUBLE_TEXT_MAX]));
    }

    /// A double whose text the caller has made: for those that Redis prints in another way.
    pub fn double_text(&mut self, text: &str) {
        match self.resp {
            Resp::V2 => self.bulk(text.as_bytes()),
            Resp::V3 => self.line(b',', text.as_bytes()),
        }
    }

    /// An integer of any size, in decimal; a bulk string in RESP2.
    pub fn big_number(&mut self, digits: &str) {
        match self.resp {
            Resp::V2 => self.bulk(digits.as_bytes()),
            Resp::V3 => self.line(b'(', digits.as_bytes()),
        }
    }

    /// Text with its format (`txt`, `mkd`); a bulk string without it in RESP2.
    pub fn verbatim(&mut self, ext: &[u8; 3], text: &[u8]) {
        if self.resp == Resp::V2 {
            return self.bulk(text);
        }
        let len = ext.len() + 1 + text.len();
        let tail = self.out.tail_with_room(NUMBER_LINE_MAX + len + 2);
        put_length(tail, b'=', len);
        tail.extend_from_slice(ext);
        tail.push(b':');
        tail.extend_from_slice(text);
        tail.extend_from_slice(b"\r\n");
    }

    /// Marks the place of an aggregate whose length is not known yet. Its elements follow, then one of the
    /// `finish_…` functions.
    pub fn defer(&mut self) -> Deferred {
        Deferred { at: self.out.end() }
    }

    /// Makes what was written since `defer` an array of `len` elements.
    pub fn finish_array(&mut self, deferred: Deferred, len: usize) {
        self.finish(deferred, b'*', len);
    }

    /// Makes what was written since `defer` a map of `pairs` keys and values.
    pub fn finish_map(&mut self, deferred: Deferred, pairs: usize) {
        let (prefix, len) = self.map_header(pairs);
        self.finish(deferred, prefix, len);
    }

    /// Makes what was written since `defer` a set of `len` elements.
    pub fn finish_set(&mut self, deferred: Deferred, len: usize) {
        self.finish(deferred, self.prefix(b'~'), len);
    }

    /// Makes what was written since `defer` an out-of-band message of `len` elements.
    pub fn finish_push(&mut self, deferred: Deferred, len: usize) {
        self.finish(deferred, self.prefix(b'>'), len);
    }

    fn finish(&mut self, deferred: Deferred, prefix: u8, len: usize) {
        let mut header = [0; NUMBER_LINE_MAX];
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(len).as_bytes();
        let end = 1 + digits.len();
        header[0] = prefix;
        header[1..end].copy_from_slice(digits);
        header[end..end + 2].copy_from_slice(b"\r\n");
        self.out.insert_at(deferred.at, &header[..end + 2]);
    }

    /// What an aggregate that only RESP3 knows starts with.
    fn prefix(&self, resp3: u8) -> u8 {
        match self.resp {
            Resp::V2 => b'*',
            Resp::V3 => resp3,
        }
    }

    fn map_header(&self, pairs: usize) -> (u8, usize) {
        match self.resp {
            Resp::V2 => (b'*', pairs * 2),
            Resp::V3 => (b'%', pairs),
        }
    }

    #[inline]
    fn length(&mut self, prefix: u8, len: usize) {
        put_length(self.out.tail_with_room(NUMBER_LINE_MAX), prefix, len);
    }

    #[inline]
    fn by_version(&mut self, resp2: &[u8], resp3: &[u8]) {
        self.out.append(match self.resp {
            Resp::V2 => resp2,
            Resp::V3 => resp3,
        });
    }

    fn line(&mut self, prefix: u8, text: &[u8]) {
        let tail = self.out.tail_with_room(text.len() + 3);
        tail.push(prefix);
        if text.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            tail.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
        } else {
            tail.extend_from_slice(text);
        }
        tail.extend_from_slice(b"\r\n");
    }
}

/// Appends a line with a length; the caller has made room.
#[inline]
fn put_length(tail: &mut Vec<u8>, prefix: u8, len: usize) {
    if len < 10 {
        tail.extend_from_slice(&[prefix, b'0' + len as u8, b'\r', b'\n']);
    } else if len < 100 {
        tail.extend_from_slice(&[prefix, b'0' + (len / 10) as u8, b'0' + (len % 10) as u8, b'\r', b'\n']);
    } else {
        tail.push(prefix);
        tail.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
        tail.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn writes(write: impl Fn(&mut ReplyWriter), resp2: &str, resp3: &str) {
        for (resp, expected) in [(Resp::V2, resp2), (Resp::V3, resp3)] {
            let mut writer = ReplyWriter::new(resp);
            write(&mut writer);
            assert_eq!(
                writer.out.contiguous().escape_ascii().to_string(),
                expected.escape_default().to_string()
            );
        }
    }

    #[track_caller]
    fn writes_in_both(write: impl Fn(&mut ReplyWriter), expected: &str) {
        writes(write, expected, expected);
    }

    #[test]
    fn strings_numbers_and_arrays_are_the_same_in_both_versions() {
        writes_in_both(|w| w.ok(), "+OK\r\n");
        writes_in_both(|w| w.simple("PONG"), "+PONG\r\n");
        writes_in_both(|w| w.error("ERR syntax error"), "-ERR syntax error\r\n");
        writes_in_both(|w| w.int(0), ":0\r\n");
        writes_in_both(|w| w.int(9), ":9\r\n");
        writes_in_both(|w| w.int(10), ":10\r\n");
        writes_in_both(|w| w.int(-1), ":-1\r\n");
        writes_in_both(|w| w.int(i64::MIN), ":-9223372036854775808\r\n");
        writes_in_both(|w| w.bulk(b""), "$0\r\n\r\n");
        writes_in_both(|w| w.bulk(b"0123456789"), "$10\r\n0123456789\r\n");
        writes_in_both(|w| w.bulk(&[b'x'; 100]), &format!("$100\r\n{}\r\n", "x".repeat(100)));
        writes_in_both(|w| w.bulk_int(-42), "$3\r\n-42\r\n");
        writes_in_both(|w| w.bulk_double(0.5), "$3\r\n0.5\r\n");
        writes_in_both(|w| w.array(0), "*0\r\n");
        writes_in_both(|w| w.array(99), "*99\r\n");
        writes_in_both(|w| w.array(100), "*100\r\n");
    }

    #[test]
    fn the_other_types_fall_back_in_resp2() {
        writes(|w| w.null(), "$-1\r\n", "_\r\n");
        writes(|w| w.null_array(), "*-1\r\n", "_\r\n");
        writes(|w| w.map(3), "*6\r\n", "%3\r\n");
        writes(|w| w.set(3), "*3\r\n", "~3\r\n");
        writes(|w| w.push(3), "*3\r\n", ">3\r\n");
        writes(|w| w.bool(true), ":1\r\n", "#t\r\n");
        writes(|w| w.bool(false), ":0\r\n", "#f\r\n");
        writes(|w| w.double(3.5), "$3\r\n3.5\r\n", ",3.5\r\n");
        writes(|w| w.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
        writes(|w| w.double_text("1.10"), "$4\r\n1.10\r\n", ",1.10\r\n");
        writes(
            |w| w.big_number("-12345678901234567890"),
            "$21\r\n-12345678901234567890\r\n",
            "(-12345678901234567890\r\n",
        );
        writes(|w| w.verbatim(b"txt", b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
    }

    #[test]
    fn attributes_exist_in_resp3() {
        let mut writer = ReplyWriter::new(Resp::V3);
        writer.attribute(1);
        assert_eq!(writer.out.contiguous(), b"|1\r\n");
    }

    #[test]
    #[should_panic(expected = "attributes need RESP3")]
    fn attributes_do_not_exist_in_resp2() {
        ReplyWriter::new(Resp::V2).attribute(1);
    }

    #[test]
    fn a_message_cannot_break_out_of_its_line() {
        writes_in_both(|w| w.error("\r\nERR a\r\nb\n\n"), "-ERR a  b\r\n");
        writes_in_both(|w| w.error("\n"), "-\r\n");
        writes_in_both(|w| w.simple("a\r\n+b"), "+a  +b\r\n");
    }

    #[test]
    fn deferred_lengths_come_before_their_elements() {
        writes(
            |w| {
                let outer = w.defer();
                w.int(1);
                let inner = w.defer();
                w.bulk(b"k");
                w.int(2);
                w.finish_map(inner, 1);
                let empty = w.defer();
                w.finish_set(empty, 0);
                let push = w.defer();
                w.finish_push(push, 0);
                w.finish_array(outer, 4);
                w.ok();
            },
            "*4\r\n:1\r\n*2\r\n$1\r\nk\r\n:2\r\n*0\r\n*0\r\n+OK\r\n",
            "*4\r\n:1\r\n%1\r\n$1\r\nk\r\n:2\r\n~0\r\n>0\r\n+OK\r\n",
        );
    }

    #[test]
    fn what_is_deferred_can_be_taken_back() {
        let mut writer = ReplyWriter::new(Resp::V2);
        writer.ok();
        let deferred = writer.defer();
        writer.int(1);
        writer.out.truncate(deferred.at());
        writer.null_array();
        assert_eq!(writer.out.contiguous(), b"+OK\r\n*-1\r\n");
    }

    #[test]
    fn values_are_shared_from_the_threshold_on() {
        for (len, parts) in [(SHARED_BULK_MIN - 1, 1), (SHARED_BULK_MIN, 3)] {
            let mut writer = ReplyWriter::new(Resp::V2);
            writer.bulk_shared(vec![b'x'; len].into());
            let mut slices = [std::io::IoSlice::new(&[]); 4];
            assert_eq!(writer.out.io_slices(u64::MAX, &mut slices), parts, "{len}");
            assert_eq!(writer.out.contiguous(), format!("${len}\r\n{}\r\n", "x".repeat(len)).as_bytes());
        }
    }
}
