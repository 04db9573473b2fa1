//! The RESP2 and RESP3 codec: request bytes in, arguments out; replies in, bytes out.
//!
//! Sans-IO: nothing here reads a socket, knows the time or knows a command. A session hands the bytes it has
//! read to a [`RequestDecoder`] and gets argument slices that still point into its read buffer; replies go
//! through a [`ReplyWriter`] into an [`OutBuf`], which the session drains with vectored writes.
//!
//! ```
//! use cairn_proto::{Decoded, Limits, ReplyWriter, RequestDecoder, Resp};
//!
//! let received = b"*2\r\n$3\r\nGET\r\n$5\r\nhello\r\nPING\r\n";
//! let mut decoder = RequestDecoder::new();
//!
//! let Decoded::Request { consumed } = decoder.decode(received, &Limits::default())? else { panic!() };
//! assert_eq!(decoder.args(received, Vec::new()), [&b"GET"[..], b"hello"]);
//!
//! // What follows the request is the start of the next one: here an inline command.
//! let rest = &received[consumed..];
//! let Decoded::Request { consumed } = decoder.decode(rest, &Limits::default())? else { panic!() };
//! assert_eq!(decoder.args(rest, Vec::new()), [b"PING"]);
//! assert_eq!(consumed, rest.len());
//!
//! let mut reply = ReplyWriter::new(Resp::V3);
//! reply.array(2);
//! reply.bulk(b"world");
//! reply.null();
//! assert_eq!(reply.out.contiguous(), b"*2\r\n$5\r\nworld\r\n_\r\n");
//! # Ok::<(), cairn_proto::ProtocolError>(())
//! ```
//!
//! # Layout
//!
//! - `request`: the incremental decoder of one connection, its limits and Redis's protocol errors.
//! - `inline`: Redis's quoting rules, shared by inline requests and configuration files.
//! - `reply`: one method per reply element, in the form of the connection's protocol version.
//! - `outbuf`: the bytes a connection still has to send, addressed by offset in its stream.
//! - `number`: integers and doubles as Redis reads and prints them.
//! - `value`: the client's side, for tests, tools and scripts: reply bytes back to a [`Value`].
//! - `fuzzing` (feature `fuzzing`): the bodies of the fuzz targets.
//!
//! # What it is not
//!
//! Not a client library: there is no connection, no pipelining and no retry. Not a full RESP3 server parser
//! either: like Redis, requests are arrays of bulk strings or inline lines and nothing else.

mod inline;
mod number;
mod outbuf;
mod reply;
mod request;
mod value;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

pub use inline::split_args;
pub use number::{DOUBLE_TEXT_MAX, format_double, parse_int};
pub use outbuf::OutBuf;
pub use reply::{Deferred, ReplyWriter, SHARED_BULK_MIN};
pub use request::{Decoded, Limits, ProtocolError, RequestDecoder, Span, encode_request, recycle};
pub use value::{REPLY_DEPTH_MAX, ReplyError, Value, decode_reply};

/// The version of the protocol that a connection speaks; `HELLO` changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Resp {
    #[default]
    V2,
    V3,
}
