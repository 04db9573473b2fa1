//! The bodies of the fuzz targets: any bytes in, a panic if an invariant does not hold.

use crate::{
    Decoded, Limits, ProtocolError, ReplyWriter, RequestDecoder, Resp, decode_reply, recycle, split_args,
};

/// What a stream was decoded to: its requests, and the error that ended it or the bytes left over.
type Stream = (Vec<Vec<Vec<u8>>>, Result<usize, ProtocolError>);

/// The first bytes choose the limits and the cuts, the rest is what the client sends. However it is cut, the
/// same requests and the same end must come of it, and `Incomplete` must never ask for too much.
pub fn fuzz_request(data: &[u8]) {
    let Some((seed, stream)) = data.split_first_chunk::<8>() else { return };
    let seed = u64::from_le_bytes(*seed);
    let small = Limits { bulk_len_max: 64, multibulk_len_max: 16, inline_len_max: 32, authenticated: true };
    let limits = match seed % 4 {
        0 => Limits { authenticated: false, ..Limits::default() },
        1 => small,
        _ => Limits::default(),
    };
    let whole = decode_stream(stream, &limits, |_| usize::MAX);
    let byte_by_byte = decode_stream(stream, &limits, |_| 1);
    assert_eq!(whole, byte_by_byte, "byte by byte");
    let mut state = seed;
    let cut = decode_stream(stream, &limits, |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        1 + (state >> 33) as usize % 40
    });
    assert_eq!(whole, cut, "cut by seed {seed}");
    // The least that the decoder said it needs is never too much.
    let as_asked = decode_stream(stream, &limits, |more| more);
    assert_eq!(whole, as_asked, "as much as asked for");
    if let Some(args) = split_args(stream) {
        assert!(args.iter().map(Vec::len).sum::<usize>() <= stream.len());
    }
}

/// Any bytes as a reply: what is a reply stays one when more follows, no part of it is one, and what is wrong
/// stays wrong.
pub fn fuzz_reply(data: &[u8]) {
    let whole = decode_reply(data);
    let complete_at = match &whole {
        Ok(Some((_, len))) => {
            assert!(*len <= data.len());
            Some(*len)
        }
        _ => None,
    };
    // Every prefix of a long input would be quadratic: look at those near the ends.
    let near = |len: &usize| *len < 256 || data.len() - *len < 64;
    for len in (0..data.len()).filter(near) {
        match (decode_reply(&data[..len]), complete_at) {
            (Ok(None), Some(end)) => assert!(len < end, "{len} bytes are enough"),
            (Ok(None), None) => {}
            (Ok(Some((_, taken))), end) => assert_eq!(Some(taken), end, "{len} bytes were not enough"),
            (Err(error), _) => assert_eq!(Err(error), whole.as_ref().map(|_| ()).map_err(|&error| error)),
        }
    }
    fuzz_error(data);
}

/// Bytes as an error message: one line comes out, whatever goes in.
fn fuzz_error(data: &[u8]) {
    let mut writer = ReplyWriter::new(Resp::V3);
    writer.error(data);
    let line = writer.out.contiguous();
    assert_eq!(line.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count(), 2);
}

/// Decodes a stream that arrives in pieces; `next_len` says the next one's length, given how many bytes the
/// decoder needs at least.
fn decode_stream(stream: &[u8], limits: &Limits, mut next_len: impl FnMut(usize) -> usize) -> Stream {
    let mut decoder = RequestDecoder::new();
    let mut requests = Vec::new();
    let (mut start, mut end) = (0, 0);
    let mut args = Vec::new();
    loop {
        let buf = &stream[start..end];
        match decoder.decode(buf, limits) {
            Ok(Decoded::Request { consumed }) => {
                assert!(consumed > 0 && consumed <= buf.len());
                args = decoder.args(buf, recycle(args));
                requests.push(args.iter().map(|arg| arg.to_vec()).collect());
                args = recycle(args);
                start += consumed;
            }
            Ok(Decoded::Incomplete { more }) => {
                assert!(more > 0);
                if end == stream.len() {
                    return (requests, Ok(stream.len() - start));
                }
                end += next_len(more).min(stream.len() - end);
            }
            Err(error) => return (requests, Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that get further than random ones do.
    fn protocol_like() -> impl Strategy<Value = Vec<u8>> {
        const WORDS: &[&[u8]] = &[
            b"*",
            b"$",
            b"\r\n",
            b"\r",
            b"\n",
            b"-1",
            b"0",
            b"1",
            b"2",
            b"3",
            b"16",
            b"100",
            b"+",
            b"-",
            b":",
            b"_",
            b"#t",
            b"%",
            b"~",
            b">",
            b"|",
            b",1.5",
            b"(12",
            b"=4\r\ntxt:",
            b"\"",
            b"'",
            b"\\x41",
            b" ",
            b"abc",
            b"*1\r\n",
            b"$1\r\n",
            b"\0",
            b"\xff",
            b"99999999999",
        ];
        prop::collection::vec(prop::sample::select(WORDS), 0..60).prop_map(|words| words.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn requests_hold_for_protocol_like_bytes(seed: [u8; 8], bytes in protocol_like()) {
            fuzz_request(&[&seed[..], &bytes].concat());
        }

        #[test]
        fn replies_hold_for_protocol_like_bytes(bytes in protocol_like()) {
            fuzz_reply(&bytes);
        }

        #[test]
        fn both_hold_for_any_bytes(bytes: Vec<u8>) {
            fuzz_request(&bytes);
            fuzz_reply(&bytes);
        }
    }
}
