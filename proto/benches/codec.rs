//! What one turn of the event loop costs in the codec: sixteen pipelined requests in, sixteen replies out.

use std::hint::black_box;

use cairn_proto::{
    Decoded, Limits, ReplyWriter, RequestDecoder, Resp, encode_request, format_double, recycle,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// The pipeline depth of the comparison with redis-server (`redis-benchmark -P 16`).
const PIPELINE: u64 = 16;
const VALUE: &[u8] = &[b'x'; 64];

fn decode(criterion: &mut Criterion) {
    let mut sets = Vec::new();
    let mut inline = Vec::new();
    for index in 0..PIPELINE {
        let key = format!("key:{index:012}");
        encode_request(&[&b"SET"[..], key.as_bytes(), VALUE], &mut sets);
        inline.extend_from_slice(format!("SET {key} \"{}\"\r\n", "x".repeat(VALUE.len())).as_bytes());
    }
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(PIPELINE));
    for (name, stream) in [("16 SET", &sets), ("16 inline SET", &inline)] {
        let mut decoder = RequestDecoder::new();
        let mut args = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut rest = black_box(stream.as_slice());
                let mut recycled = recycle(std::mem::take(&mut args));
                while let Ok(Decoded::Request { consumed }) = decoder.decode(rest, &limits) {
                    recycled = decoder.args(rest, recycled);
                    black_box(recycled.as_slice());
                    recycled = recycle(recycled);
                    rest = &rest[consumed..];
                }
                assert!(rest.is_empty());
                args = recycle(recycled);
            });
        });
    }
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(PIPELINE));
    let mut bench = |name: &str, element: &dyn Fn(&mut ReplyWriter)| {
        let mut writer = ReplyWriter::new(Resp::V2);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for _ in 0..PIPELINE {
                    element(&mut writer);
                }
                black_box(writer.out.contiguous());
                writer.out.consume(writer.out.len());
            });
        });
    };
    bench("16 OK", &|writer| writer.ok());
    bench("16 GET of 64 bytes", &|writer| writer.bulk(black_box(VALUE)));
    bench("16 INCR", &|writer| writer.int(black_box(1_234_567)));
    bench("16 LRANGE of 10", &|writer| {
        writer.array(10);
        (0..10).for_each(|_| writer.bulk(black_box(VALUE)));
    });
    bench("16 deferred LRANGE of 10", &|writer| {
        let deferred = writer.defer();
        (0..10).for_each(|_| writer.bulk(black_box(VALUE)));
        writer.finish_array(deferred, 10);
    });
    bench("16 ZSCORE", &|writer| writer.double(black_box(1234.5678)));
    group.finish();
}

fn doubles(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("format_double");
    for value in [42.0, 0.1, 13.361389338970184, 1.5e300] {
        group.bench_function(value.to_string(), |bencher| {
            bencher.iter(|| black_box(format_double(black_box(value), &mut [0; 32]).len()));
        });
    }
    group.finish();
}

criterion_group!(benches, decode, encode, doubles);
criterion_main!(benches);
