//! Requests: the incremental decoder of one connection, its limits and Redis's protocol errors.

use std::ops::Range;

use crate::ReplyWriter;
use crate::inline;

/// What a client may send before it is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest argument in bytes: `proto-max-bulk-len`.
    pub bulk_len_max: usize,
    /// The most arguments in one request.
    pub multibulk_len_max: usize,
    /// The longest inline request, and the longest line with a length, in bytes without the line end.
    pub inline_len_max: usize,
    /// Whether the client needs no password (any more). Until then the limits are [`Limits::UNAUTHENTICATED_ARGS_MAX`]
    /// and [`Limits::UNAUTHENTICATED_BULK_LEN_MAX`], so that strangers cannot make the server hold much.
    pub authenticated: bool,
}

impl Limits {
    /// The most arguments in a request of a client that has yet to authenticate.
    pub const UNAUTHENTICATED_ARGS_MAX: usize = 10;
    /// The longest argument, in bytes, of a client that has yet to authenticate.
    pub const UNAUTHENTICATED_BULK_LEN_MAX: usize = 16 * 1024;

    /// The longest argument, given whether the client is authenticated.
    fn bulk_len_max_now(&self) -> usize {
        if self.authenticated {
            self.bulk_len_max
        } else {
            self.bulk_len_max.min(Self::UNAUTHENTICATED_BULK_LEN_MAX)
        }
    }
}

impl Default for Limits {
    /// Redis's defaults, for an authenticated client.
    fn default() -> Self {
        Self {
            bulk_len_max: 512 * 1024 * 1024,
            multibulk_len_max: i32::MAX as usize,
            inline_len_max: 64 * 1024,
            authenticated: true,
        }
    }
}

/// Where one argument lies in the bytes that hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub len: usize,
}

impl Span {
    #[inline]
    pub fn range(self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

/// What [`RequestDecoder::decode`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// The request's end has not been received: at least `more` further bytes are needed. That is the rest of
    /// a bulk string where one is under way (so that the reader can make room for it), else 1.
    Incomplete { more: usize },
    /// A request that took the first `consumed` bytes. Its arguments are in the decoder until the next
    /// [`RequestDecoder::decode`]; there are none for an empty line, `*0` or `*-1`, which Redis skips silently.
    Request { consumed: usize },
}

/// Why a connection must be closed. Displayed as Redis words it after `-ERR Protocol error: `.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("too big inline request")]
    InlineTooLong,
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    #[error("too big mbulk count string")]
    MultibulkLineTooLong,
    #[error("invalid multibulk length")]
    MultibulkLength,
    #[error("unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    #[error("too big bulk count string")]
    BulkLineTooLong,
    #[error("expected '$', got '{}'", char::from(*got))]
    ExpectedBulk { got: u8 },
    #[error("invalid bulk length")]
    BulkLength,
    #[error("unauthenticated bulk length")]
    UnauthenticatedBulkLength,
}

impl ProtocolError {
    /// The error reply that goes to the client before the connection is closed, byte for byte as Redis sends
    /// it. ([`Display`](std::fmt::Display) cannot be: the byte that was got need not be a character.)
    pub fn write_reply(self, reply: &mut ReplyWriter) {
        match self {
            Self::ExpectedBulk { got } => {
                reply.error(&[b"ERR Protocol error: expected '$', got '", &[got][..], b"'"].concat());
            }
            _ => reply.error(&format!("ERR Protocol error: {self}")),
        }
    }
}

/// The decoding state of one connection. It remembers how far it got within a half-received request, so that
/// no byte is parsed twice however the network cuts the stream.
#[derive(Debug, Default)]
pub struct RequestDecoder {
    state: State,
    /// Everything in the buffer before this offset is parsed.
    pos: usize,
    /// There is no line end between `pos` and this offset, if that lies behind it.
    scanned: usize,
    /// Arguments of the multibulk that are still to come.
    args_left: usize,
    /// The length of the argument at `pos`, once its line has been parsed.
    bulk_len: Option<usize>,
    /// The arguments so far; offsets into the buffer, or into `inline_text` for an inline request.
    spans: Vec<Span>,
    /// The arguments of an inline request with their quotes undone.
    inline_text: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing but perhaps `scanned` is known of the request at the buffer's start.
    #[default]
    Start,
    /// Within a multibulk whose number of arguments is known.
    Args,
    /// A request was returned; the arguments lie in the buffer.
    Multibulk,
    /// A request was returned; the arguments lie in `inline_text`.
    Inline,
}

/// A length's line at the decoder's position.
enum Line {
    /// It ends (with its CR) before this offset.
    EndsAt(usize),
    Incomplete,
    TooLong,
}

impl RequestDecoder {
    /// Room for so many spans is made before they have been received. More than this is not taken on the
    /// client's word.
    const SPANS_AHEAD_MAX: usize = 1024;
    /// The room for spans that is kept between requests.
    const SPANS_KEPT: usize = 1024;
    /// The room for inline arguments, in bytes, that is kept between requests.
    const INLINE_TEXT_KEPT: usize = 1024;

    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on decoding the request that `buf` starts with.
    ///
    /// `buf` is everything not yet consumed; it starts with the request's first byte, at every call until the
    /// request is returned. After an error the connection is lost: the same error comes again.
    pub fn decode(&mut self, buf: &[u8], limits: &Limits) -> Result<Decoded, ProtocolError> {
        if matches!(self.state, State::Multibulk | State::Inline) {
            self.reset();
        }
        if self.state == State::Start {
            match buf.first() {
                None => return Ok(Decoded::Incomplete { more: 1 }),
                Some(b'*') => {}
                Some(_) => return self.decode_inline(buf, limits),
            }
            if !self.decode_args_len(buf, limits)? {
                return Ok(Decoded::Incomplete { more: 1 });
            }
            self.state = State::Args;
        }
        self.decode_args(buf, limits)
    }

    /// The arguments of the request that [`decode`](Self::decode) returned last, put into `into` (whose old
    /// content goes). `buf` is the buffer it was decoded from.
    ///
    /// See [`recycle`] for how to use one `Vec` for the requests of many buffers.
    pub fn args<'a>(&'a self, buf: &'a [u8], mut into: Vec<&'a [u8]>) -> Vec<&'a [u8]> {
        let source = self.source(buf);
        into.clear();
        into.extend(self.spans.iter().map(|span| &source[span.range()]));
        into
    }

    /// Appends the arguments of the request that [`decode`](Self::decode) returned last, if they lie in `buf`. They
    /// then outlive the decoder's next step, so that several requests can be decoded before the first one runs.
    /// False, and nothing appended, for an inline request.
    pub fn append_args<'a>(&self, buf: &'a [u8], into: &mut Vec<&'a [u8]>) -> bool {
        if self.state != State::Multibulk {
            return false;
        }
        into.extend(self.spans.iter().map(|span| &buf[span.range()]));
        true
    }

    /// How many arguments the request has that [`decode`](Self::decode) returned last.
    pub fn arg_count(&self) -> usize {
        self.spans.len()
    }

    /// One argument of the request that [`decode`](Self::decode) returned last; `index` counts from 0 (the
    /// command's name).
    pub fn arg<'a>(&'a self, buf: &'a [u8], index: usize) -> Option<&'a [u8]> {
        let span = self.spans.get(index)?;
        Some(&self.source(buf)[span.range()])
    }

    /// How much of the buffer, from its start, is known to be arguments and lengths of the unfinished request.
    pub fn parsed(&self) -> usize {
        if self.state == State::Args { self.pos } else { 0 }
    }

    /// Bytes of memory held, to be counted against `client-query-buffer-limit` together with the buffer.
    pub fn memory(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.inline_text.capacity()
    }

    fn source<'a>(&'a self, buf: &'a [u8]) -> &'a [u8] {
        debug_assert!(matches!(self.state, State::Multibulk | State::Inline), "no request was returned");
        if self.state == State::Inline { &self.inline_text } else { buf }
    }

    fn reset(&mut self) {
        self.state = State::Start;
        self.pos = 0;
        self.scanned = 0;
        self.spans.clear();
        if self.spans.capacity() > Self::SPANS_KEPT {
            self.spans.shrink_to(Self::SPANS_KEPT);
        }
    }

    /// Parses `*<number of arguments>`; false if the line is incomplete.
    fn decode_args_len(&mut self, buf: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let (len, next) = match short_length(&buf[1..]) {
            Some((len, taken)) => (len, 1 + taken),
            None => match self.line(buf, limits) {
                Line::Incomplete => return Ok(false),
                Line::TooLong => return Err(ProtocolError::MultibulkLineTooLong),
                Line::EndsAt(end) => {
                    let len = crate::parse_int(&buf[1..end]).ok_or(ProtocolError::MultibulkLength)?;
                    // A negative number of arguments is as good as none.
                    (usize::try_from(len).unwrap_or(0), end + 2)
                }
            },
        };
        if len > limits.multibulk_len_max {
            return Err(ProtocolError::MultibulkLength);
        }
        if len > Limits::UNAUTHENTICATED_ARGS_MAX && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        self.args_left = len;
        self.spans.reserve(len.min(Self::SPANS_AHEAD_MAX));
        self.pos = next;
        Ok(true)
    }

    fn decode_args(&mut self, buf: &[u8], limits: &Limits) -> Result<Decoded, ProtocolError> {
        let len_max = limits.bulk_len_max_now();
        while self.args_left > 0 {
            let len = match self.bulk_len.take() {
                Some(len) => len,
                None => match short_bulk_len(&buf[self.pos..]) {
                    Some((len, taken)) if len <= len_max => {
                        self.pos += taken;
                        len
                    }
                    _ => match self.decode_bulk_len(buf, limits)? {
                        Some(len) => len,
                        None => return Ok(Decoded::Incomplete { more: 1 }),
                    },
                },
            };
            // Two bytes follow the argument; like Redis, take them for a line end without looking.
            let end = self.pos.saturating_add(len).saturating_add(2);
            if end > buf.len() {
                self.bulk_len = Some(len);
                return Ok(Decoded::Incomplete { more: end - buf.len() });
            }
            self.spans.push(Span { start: self.pos, len });
            self.args_left -= 1;
            self.pos = end;
        }
        self.state = State::Multibulk;
        Ok(Decoded::Request { consumed: self.pos })
    }

    /// Parses any `$<length>` and moves on to the argument itself; `None` if the line is incomplete.
    #[cold]
    fn decode_bulk_len(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let end = match self.line(buf, limits) {
            Line::EndsAt(end) => end,
            Line::Incomplete => return Ok(None),
            Line::TooLong => return Err(ProtocolError::BulkLineTooLong),
        };
        if buf[self.pos] != b'$' {
            return Err(ProtocolError::ExpectedBulk { got: buf[self.pos] });
        }
        let len = crate::parse_int(&buf[self.pos + 1..end]).ok_or(ProtocolError::BulkLength)?;
        let len = usize::try_from(len).map_err(|_| ProtocolError::BulkLength)?;
        if len > limits.bulk_len_max {
            return Err(ProtocolError::BulkLength);
        }
        if len > limits.bulk_len_max_now() {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        self.pos = end + 2;
        Ok(Some(len))
    }

    fn decode_inline(&mut self, buf: &[u8], limits: &Limits) -> Result<Decoded, ProtocolError> {
        let newline = match self.find(buf, b'\n', limits) {
            Line::EndsAt(newline) => newline,
            Line::Incomplete => return Ok(Decoded::Incomplete { more: 1 }),
            Line::TooLong => return Err(ProtocolError::InlineTooLong),
        };
        let line = &buf[..newline];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.inline_text.clear();
        self.inline_text.shrink_to(Self::INLINE_TEXT_KEPT);
        self.spans.clear();
        inline::split_into(line, &mut self.inline_text, &mut self.spans)
            .ok_or(ProtocolError::UnbalancedQuotes)?;
        self.state = State::Inline;
        Ok(Decoded::Request { consumed: newline + 1 })
    }

    /// The line with a length that starts at `pos`. Like Redis, takes the byte after the CR for a LF.
    #[cold]
    fn line(&mut self, buf: &[u8], limits: &Limits) -> Line {
        match self.find(buf, b'\r', limits) {
            Line::EndsAt(end) if end + 2 > buf.len() => Line::Incomplete,
            found => found,
        }
    }

    /// The next `byte` after `pos`. A line is too long whether or not its end is in the buffer already, so that
    /// the verdict does not depend on how the stream was cut.
    fn find(&mut self, buf: &[u8], byte: u8, limits: &Limits) -> Line {
        self.scanned = self.scanned.max(self.pos);
        let found = buf[self.scanned..].iter().position(|&candidate| candidate == byte);
        self.scanned += found.unwrap_or(buf.len() - self.scanned);
        if self.scanned - self.pos > limits.inline_len_max {
            return Line::TooLong;
        }
        if found.is_some() { Line::EndsAt(self.scanned) } else { Line::Incomplete }
    }
}

/// The fast path for a whole `$<length>` line: the length, and how many bytes the line takes.
#[inline]
fn short_bulk_len(bytes: &[u8]) -> Option<(usize, usize)> {
    // Nearly all lengths have one or two digits.
    match *bytes {
        [b'$', ones @ b'0'..=b'9', b'\r', _, ..] => Some((usize::from(ones - b'0'), 4)),
        [b'$', tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', _, ..] => {
            Some((usize::from(tens - b'0') * 10 + usize::from(ones - b'0'), 5))
        }
        [b'$', ref digits @ ..] => short_length(digits).map(|(len, taken)| (len, 1 + taken)),
        _ => None,
    }
}

/// The fast path for lengths: what the digits at the start of `bytes` say, and how many bytes they take with
/// their line end. `None` for whatever is incomplete, wrong or longer than the lengths seen in practice.
#[inline]
fn short_length(bytes: &[u8]) -> Option<(usize, usize)> {
    /// Fits a usize of 32 bits.
    const DIGITS_MAX: usize = 9;
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(DIGITS_MAX + 1).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 && index < DIGITS_MAX {
            value = value * 10 + usize::from(digit);
            continue;
        }
        let canonical = index == 1 || (index > 1 && bytes[0] != b'0');
        let complete = byte == b'\r' && bytes.len() >= index + 2;
        return (canonical && complete).then_some((value, index + 2));
    }
    None
}

/// Empties `args` for slices of another lifetime, keeping its memory: one `Vec` serves every request of a
/// session without an allocation.
///
/// Safe code: the standard library collects an iterator over a `Vec` into that `Vec`'s own memory.
pub fn recycle<'a, 'b>(mut args: Vec<&'a [u8]>) -> Vec<&'b [u8]> {
    args.clear();
    args.into_iter().map(|_| -> &'b [u8] { unreachable!("the vector is empty") }).collect()
}

/// Appends a request with these arguments to `into`, as clients send it.
pub fn encode_request<A: AsRef<[u8]>>(args: &[A], into: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    let mut line = |prefix, len: usize, into: &mut Vec<u8>| {
        into.push(prefix);
        into.extend_from_slice(digits.format(len).as_bytes());
        into.extend_from_slice(b"\r\n");
    };
    line(b'*', args.len(), into);
    for arg in args {
        let arg = arg.as_ref();
        line(b'$', arg.len(), into);
        into.extend_from_slice(arg);
        into.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resp;

    const INCOMPLETE: Result<Decoded, ProtocolError> = Ok(Decoded::Incomplete { more: 1 });

    fn decode(buf: &[u8]) -> Result<Decoded, ProtocolError> {
        RequestDecoder::new().decode(buf, &Limits::default())
    }

    fn decode_unauthenticated(buf: &[u8]) -> Result<Decoded, ProtocolError> {
        RequestDecoder::new().decode(buf, &Limits { authenticated: false, ..Limits::default() })
    }

    #[track_caller]
    fn decodes_to(buf: &[u8], consumed: usize, args: &[&[u8]]) {
        let mut decoder = RequestDecoder::new();
        assert_eq!(decoder.decode(buf, &Limits::default()), Ok(Decoded::Request { consumed }));
        assert_eq!(decoder.args(buf, Vec::new()), args);
        assert_eq!(decoder.arg_count(), args.len());
        assert_eq!(decoder.arg(buf, 0), args.first().copied());
    }

    #[test]
    fn a_multibulk_yields_its_arguments_and_leaves_what_follows() {
        decodes_to(b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n", 19, &[b"GET", b""]);
        decodes_to(b"*1\r\n$4\r\n\r\n\0\xff\r\n", 14, &[b"\r\n\0\xff"]);
    }

    #[test]
    fn requests_without_arguments_are_consumed() {
        for empty in [&b"*0\r\n"[..], b"*-1\r\n", b"*-9223372036854775808\r\n", b"\r\n", b"\n", b"  \t\r\n"] {
            decodes_to(empty, empty.len(), &[]);
        }
    }

    #[test]
    fn an_inline_request_is_unquoted() {
        decodes_to(b"SET 'a b' \"\\x00\\n\"\r\nPING", 20, &[b"SET", b"a b", b"\0\n"]);
        decodes_to(b"PING\n", 5, &[b"PING"]);
        decodes_to(b"$3\r\n", 4, &[b"$3"]);
    }

    #[test]
    fn the_bytes_after_an_argument_are_not_looked_at() {
        decodes_to(b"*1\r\n$1\r\naXY", 11, &[b"a"]);
        decodes_to(b"*1\rX$1\rXaXX", 11, &[b"a"]);
    }

    #[test]
    fn incomplete_requests_say_how_much_of_a_bulk_is_missing() {
        assert_eq!(decode(b""), INCOMPLETE);
        assert_eq!(decode(b"PING"), INCOMPLETE);
        assert_eq!(decode(b"*2\r"), INCOMPLETE);
        assert_eq!(decode(b"*1\r\n$536870912\r"), INCOMPLETE);
        assert_eq!(decode(b"*1\r\n$536870912\r\n"), Ok(Decoded::Incomplete { more: 536_870_914 }));
        assert_eq!(decode(b"*1\r\n$3\r\nab"), Ok(Decoded::Incomplete { more: 3 }));
        assert_eq!(decode(b"*1\r\n$3\r\nabc\r"), Ok(Decoded::Incomplete { more: 1 }));
    }

    #[test]
    fn a_request_is_decoded_the_same_byte_by_byte() {
        let stream = b"*3\r\n$3\r\nSET\r\n$10\r\n0123456789\r\n$0\r\n\r\n";
        let mut decoder = RequestDecoder::new();
        for len in 0..stream.len() {
            let decoded = decoder.decode(&stream[..len], &Limits::default());
            assert!(
                matches!(decoded, Ok(Decoded::Incomplete { more }) if more <= stream.len() - len),
                "{len}"
            );
        }
        let decoded = decoder.decode(stream, &Limits::default());
        assert_eq!(decoded, Ok(Decoded::Request { consumed: stream.len() }));
        assert_eq!(decoder.args(stream, Vec::new()), [&b"SET"[..], b"0123456789", b""]);
    }

    #[test]
    fn what_is_parsed_is_not_parsed_again() {
        let mut decoder = RequestDecoder::new();
        let mut stream = b"*2\r\n$3\r\nGET\r\n$1".to_vec();
        assert_eq!(decoder.decode(&stream, &Limits::default()), INCOMPLETE);
        // Proof by vandalism: the decoder has no business any more with what lies before `$1`.
        stream[..13].fill(b'!');
        stream.extend_from_slice(b"\r\nk\r\n");
        let decoded = decoder.decode(&stream, &Limits::default());
        assert_eq!(decoded, Ok(Decoded::Request { consumed: stream.len() }));
        assert_eq!(decoder.args(&stream, Vec::new()), [&b"!!!"[..], b"k"]);
    }

    #[test]
    fn multibulk_lengths_are_checked_as_redis_does() {
        for wrong in [
            "*\r\n",
            "*x\r\n",
            "*+1\r\n",
            "*01\r\n",
            "*1 \r\n",
            "*2147483648\r\n",
            "*99999999999999999999\r\n",
        ] {
            assert_eq!(decode(wrong.as_bytes()), Err(ProtocolError::MultibulkLength), "{wrong:?}");
        }
        assert_eq!(decode(b"*2147483647\r\n"), INCOMPLETE);
        assert_eq!(decode(b"*-99999999999999999999\r\n"), Err(ProtocolError::MultibulkLength));
    }

    #[test]
    fn bulk_lengths_are_checked_as_redis_does() {
        for wrong in
            ["\r\n", "x\r\n", "-1\r\n", "+1\r\n", "00\r\n", "536870913\r\n", "99999999999999999999\r\n"]
        {
            assert_eq!(
                decode(format!("*1\r\n${wrong}").as_bytes()),
                Err(ProtocolError::BulkLength),
                "{wrong:?}"
            );
        }
        let longer = Limits { bulk_len_max: usize::MAX, ..Limits::default() };
        let decoded = RequestDecoder::new().decode(b"*1\r\n$9223372036854775807\r\n", &longer);
        assert_eq!(decoded, Ok(Decoded::Incomplete { more: i64::MAX as usize + 2 }));
    }

    #[test]
    fn a_bulk_must_start_with_a_dollar_once_its_line_is_there() {
        assert_eq!(decode(b"*1\r\nx"), INCOMPLETE);
        assert_eq!(decode(b"*1\r\nfoo\r\n"), Err(ProtocolError::ExpectedBulk { got: b'f' }));
        assert_eq!(decode(b"*1\r\n\r\n"), Err(ProtocolError::ExpectedBulk { got: b'\r' }));
    }

    #[test]
    fn lines_longer_than_the_limit_are_refused_wherever_they_are_cut() {
        let max = Limits::default().inline_len_max;
        let cases = [
            ("", ProtocolError::InlineTooLong),
            ("*", ProtocolError::MultibulkLineTooLong),
            ("*1\r\n$", ProtocolError::BulkLineTooLong),
        ];
        for (start, error) in cases {
            let prefix = start.len() - start.rfind('\n').map_or(0, |at| at + 1);
            let mut stream = start.as_bytes().to_vec();
            stream.extend(std::iter::repeat_n(b'1', max - prefix));
            assert_eq!(decode(&stream), INCOMPLETE, "{start:?}");
            stream.push(b'1');
            assert_eq!(decode(&stream), Err(error), "{start:?}");
            stream.extend_from_slice(b"\r\n");
            assert_eq!(decode(&stream), Err(error), "{start:?}");
        }
    }

    #[test]
    fn strangers_may_send_ten_arguments_of_16_kib() {
        assert_eq!(decode_unauthenticated(b"*10\r\n"), INCOMPLETE);
        assert_eq!(decode_unauthenticated(b"*11\r\n"), Err(ProtocolError::UnauthenticatedMultibulkLength));
        assert_eq!(decode_unauthenticated(b"*1\r\n$16384\r\n"), Ok(Decoded::Incomplete { more: 16386 }));
        let decoded = decode_unauthenticated(b"*1\r\n$16385\r\n");
        assert_eq!(decoded, Err(ProtocolError::UnauthenticatedBulkLength));
    }

    #[test]
    fn an_error_comes_again() {
        let mut decoder = RequestDecoder::new();
        for wrong in [&b"*x\r\n"[..], b"*1\r\n$x\r\n", b"'unbalanced\r\n"] {
            let first = decoder.decode(wrong, &Limits::default());
            assert!(first.is_err());
            assert_eq!(decoder.decode(wrong, &Limits::default()), first);
            decoder = RequestDecoder::new();
        }
    }

    #[test]
    fn the_error_reply_is_worded_as_by_redis() {
        let reply = |error: ProtocolError| {
            let mut writer = ReplyWriter::new(Resp::V2);
            error.write_reply(&mut writer);
            writer.out.contiguous().to_vec()
        };
        assert_eq!(
            reply(ProtocolError::MultibulkLength),
            b"-ERR Protocol error: invalid multibulk length\r\n"
        );
        let expected = reply(ProtocolError::ExpectedBulk { got: b'x' });
        assert_eq!(expected, b"-ERR Protocol error: expected '$', got 'x'\r\n");
        assert_eq!(ProtocolError::ExpectedBulk { got: b'x' }.to_string(), "expected '$', got 'x'");
        let binary = reply(ProtocolError::ExpectedBulk { got: 0xff });
        assert_eq!(binary, b"-ERR Protocol error: expected '$', got '\xff'\r\n");
        let line_end = reply(ProtocolError::ExpectedBulk { got: b'\r' });
        assert_eq!(line_end, b"-ERR Protocol error: expected '$', got ' '\r\n");
    }

    #[test]
    fn promised_arguments_take_no_memory_before_they_come() {
        let mut decoder = RequestDecoder::new();
        assert_eq!(decoder.decode(b"*2147483647\r\n", &Limits::default()), INCOMPLETE);
        assert!(decoder.memory() <= RequestDecoder::SPANS_AHEAD_MAX * size_of::<Span>());
    }

    #[test]
    fn memory_goes_back_after_a_large_request() {
        let mut decoder = RequestDecoder::new();
        let mut large = Vec::new();
        encode_request(&vec!["x"; 100_000], &mut large);
        assert_eq!(
            decoder.decode(&large, &Limits::default()),
            Ok(Decoded::Request { consumed: large.len() })
        );
        assert!(decoder.memory() > 100_000 * size_of::<Span>());
        let inline = [vec![b'x'; 60_000], b"\n".to_vec()].concat();
        assert_eq!(decoder.decode(&inline, &Limits::default()), Ok(Decoded::Request { consumed: 60_001 }));
        assert!(decoder.memory() < 200_000);
        assert_eq!(decoder.decode(b"PING\n", &Limits::default()), Ok(Decoded::Request { consumed: 5 }));
        let kept = RequestDecoder::SPANS_KEPT * size_of::<Span>() + RequestDecoder::INLINE_TEXT_KEPT;
        assert!(decoder.memory() <= kept, "{}", decoder.memory());
    }

    #[test]
    fn recycling_keeps_the_memory() {
        let first = b"*1\r\n$1\r\na\r\n".to_vec();
        let mut args: Vec<&[u8]> = Vec::with_capacity(37);
        args.push(&first);
        let (pointer, capacity) = (args.as_ptr().addr(), args.capacity());
        let args = recycle(args);
        drop(first);
        assert!(args.is_empty());
        assert_eq!((args.as_ptr().addr(), args.capacity()), (pointer, capacity));
    }
}
