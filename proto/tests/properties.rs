//! Properties of the codec as a user of the crate sees it.

use cairn_proto::{
    Decoded, Limits, ReplyWriter, RequestDecoder, Resp, Value, decode_reply, encode_request, recycle,
    split_args,
};
use proptest::prelude::*;

type Args = Vec<Vec<u8>>;

/// A request as some client sends it: its bytes and the arguments that they stand for.
#[derive(Clone, Debug)]
struct Sent {
    bytes: Vec<u8>,
    args: Args,
}

fn multibulk() -> impl Strategy<Value = Sent> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8).prop_map(|args| {
        let mut bytes = Vec::new();
        encode_request(&args, &mut bytes);
        Sent { bytes, args }
    })
}

/// Large enough to need every width of length and to be cut within.
fn large_multibulk() -> impl Strategy<Value = Sent> {
    (90..2000_usize, any::<u8>()).prop_map(|(len, byte)| {
        let args = vec![b"SET".to_vec(), vec![byte; len]];
        let mut bytes = Vec::new();
        encode_request(&args, &mut bytes);
        Sent { bytes, args }
    })
}

fn many_arguments() -> impl Strategy<Value = Sent> {
    (100..2000_usize).prop_map(|len| {
        let args = vec![b"x".to_vec(); len];
        let mut bytes = Vec::new();
        encode_request(&args, &mut bytes);
        Sent { bytes, args }
    })
}

/// Every argument quoted, so that any byte can be in it.
fn inline() -> impl Strategy<Value = Sent> {
    let args = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..10), 0..5);
    (args, prop::sample::select(vec!["\n", "\r\n", " \r\n"])).prop_map(|(args, line_end)| {
        // The first byte of a request tells the two forms apart; a blank is an inline one's.
        let mut bytes = b" ".to_vec();
        for arg in &args {
            bytes.extend(quote(arg));
            bytes.push(b' ');
        }
        bytes.extend_from_slice(line_end.as_bytes());
        Sent { bytes, args }
    })
}

fn quote(arg: &[u8]) -> Vec<u8> {
    let hex = arg.iter().map(|byte| format!("\\x{byte:02x}"));
    format!("\"{}\"", hex.collect::<String>()).into_bytes()
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![4 => multibulk(), 1 => large_multibulk(), 1 => many_arguments(), 2 => inline()]
}

/// Decodes as a session does: a buffer to which each piece is appended and from which requests are dropped.
fn decode_pieces<'s>(pieces: impl Iterator<Item = &'s [u8]>) -> Vec<Args> {
    let mut decoder = RequestDecoder::new();
    let mut buffer: Vec<u8> = Vec::new();
    let mut requests = Vec::new();
    let mut recycled = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let mut start = 0;
        while let Decoded::Request { consumed } =
            decoder.decode(&buffer[start..], &Limits::default()).unwrap()
        {
            let args = decoder.args(&buffer[start..], recycle(recycled));
            requests.push(args.iter().map(|arg| arg.to_vec()).collect());
            recycled = recycle(args);
            start += consumed;
        }
        buffer.drain(..start);
    }
    assert!(buffer.is_empty(), "{} bytes are left", buffer.len());
    requests
}

fn value() -> impl Strategy<Value = Value> {
    let text = || prop::collection::vec(any::<u8>(), 0..20);
    let line = || "[ -~]{0,20}".prop_map(String::into_bytes);
    let leaf = prop_oneof![
        line().prop_map(Value::Simple),
        line().prop_map(|message| Value::Error([b"ERR ", &message[..]].concat())),
        any::<i64>().prop_map(Value::Int),
        text().prop_map(Value::Bulk),
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<f64>()
            .prop_filter("nan is not equal to itself", |value| !value.is_nan())
            .prop_map(Value::Double),
        "-?[1-9][0-9]{0,40}".prop_map(Value::BigNumber),
        text().prop_map(|text| Value::Verbatim { ext: *b"txt", text }),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        let many = || prop::collection::vec(inner.clone(), 0..8);
        let pairs = || prop::collection::vec((inner.clone(), inner.clone()), 0..4);
        prop_oneof![
            many().prop_map(Value::Array),
            many().prop_map(Value::Set),
            many().prop_map(Value::Push),
            pairs().prop_map(Value::Map),
            (pairs(), inner.clone())
                .prop_map(|(attributes, value)| Value::Attributed { attributes, value: Box::new(value) }),
        ]
    })
}

/// Writes a value with the writer's methods; aggregates deferred or not, by turns.
fn write(value: &Value, writer: &mut ReplyWriter, defer: bool) {
    match value {
        Value::Simple(text) => writer.simple(text),
        Value::Error(message) => writer.error(message),
        Value::Int(value) => writer.int(*value),
        Value::Bulk(bytes) => writer.bulk_shared(bytes.clone().into()),
        Value::Null | Value::NullBulk => writer.null(),
        Value::NullArray => writer.null_array(),
        Value::Bool(value) => writer.bool(*value),
        Value::Double(value) => writer.double(*value),
        Value::BigNumber(digits) => writer.big_number(digits),
        Value::Verbatim { ext, text } => writer.verbatim(ext, text),
        Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => {
            let mark = writer.defer();
            match value {
                _ if defer => {}
                Value::Array(_) => writer.array(elements.len()),
                Value::Set(_) => writer.set(elements.len()),
                _ => writer.push(elements.len()),
            }
            elements.iter().for_each(|element| write(element, writer, !defer));
            match value {
                _ if !defer => {}
                Value::Array(_) => writer.finish_array(mark, elements.len()),
                Value::Set(_) => writer.finish_set(mark, elements.len()),
                _ => writer.finish_push(mark, elements.len()),
            }
        }
        Value::Map(pairs) => {
            let mark = writer.defer();
            if !defer {
                writer.map(pairs.len());
            }
            write_pairs(pairs, writer, !defer);
            if defer {
                writer.finish_map(mark, pairs.len());
            }
        }
        Value::Attributed { attributes, value } => {
            if writer.resp == Resp::V3 {
                writer.attribute(attributes.len());
                write_pairs(attributes, writer, defer);
            }
            write(value, writer, defer);
        }
    }
}

fn write_pairs(pairs: &[(Value, Value)], writer: &mut ReplyWriter, defer: bool) {
    for (key, value) in pairs {
        write(key, writer, defer);
        write(value, writer, defer);
    }
}

/// What a RESP2 client sees of a value.
fn in_resp2(value: &Value) -> Value {
    let all = |elements: &[Value]| Value::Array(elements.iter().map(in_resp2).collect());
    match value {
        Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => all(elements),
        Value::Map(pairs) => {
            Value::Array(pairs.iter().flat_map(|(key, value)| [in_resp2(key), in_resp2(value)]).collect())
        }
        Value::Attributed { value, .. } => in_resp2(value),
        Value::Null => Value::NullBulk,
        Value::Bool(value) => Value::Int((*value).into()),
        Value::BigNumber(digits) => Value::Bulk(digits.clone().into_bytes()),
        Value::Verbatim { text, .. } => Value::Bulk(text.clone()),
        Value::Double(value) => {
            let mut buf = [0; cairn_proto::DOUBLE_TEXT_MAX];
            Value::Bulk(cairn_proto::format_double(*value, &mut buf).as_bytes().to_vec())
        }
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_split_of_a_stream_decodes_alike(
        requests in prop::collection::vec(sent(), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let stream: Vec<u8> = requests.iter().flat_map(|sent| sent.bytes.iter().copied()).collect();
        let expected: Vec<Args> = requests.into_iter().map(|sent| sent.args).collect();

        prop_assert_eq!(&decode_pieces([stream.as_slice()].into_iter()), &expected);
        prop_assert_eq!(&decode_pieces(stream.chunks(1)), &expected);

        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]);
        prop_assert_eq!(&decode_pieces(pieces), &expected);
    }

    #[test]
    fn what_is_written_is_read_back(value in value(), defer: bool) {
        for (resp, expected) in [(Resp::V3, value.clone()), (Resp::V2, in_resp2(&value))] {
            let mut writer = ReplyWriter::new(resp);
            write(&value, &mut writer, defer);
            let len = writer.out.len();
            let decoded = decode_reply(writer.out.contiguous());
            prop_assert_eq!(decoded, Ok(Some((expected, len))));
        }
    }

    #[test]
    fn quoted_arguments_are_split_into_themselves(args: Args) {
        let line = args.iter().map(|arg| quote(arg)).collect::<Vec<_>>().join(&b' ');
        prop_assert_eq!(split_args(&line), Some(args));
    }
}
