//! Decoding and replying take no allocation per request: what the benchmarks rest on.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use cairn_proto::{Decoded, Limits, ReplyWriter, RequestDecoder, Resp, encode_request, recycle};

/// The system's allocator, counting what this thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; the counter is a const-initialised cell without a
// destructor, so that counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and `alloc` is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn pipelined_requests_are_served_without_an_allocation() {
    let value = Bytes::from(vec![b'x'; 64]);
    let mut turn = Vec::new();
    for _ in 0..16 {
        encode_request(&[&b"SET"[..], b"key:000000000001", &value], &mut turn);
        encode_request(&["GET", "key:000000000001"], &mut turn);
        turn.extend_from_slice(b"INCRBYFLOAT 'counter' 1.5\r\n");
    }
    let mut decoder = RequestDecoder::new();
    let mut writer = ReplyWriter::new(Resp::V2);
    let mut recycled = Vec::new();
    let mut serve_turn = || {
        let mut rest = turn.as_slice();
        let mut args = recycle(std::mem::take(&mut recycled));
        while let Ok(Decoded::Request { consumed }) = decoder.decode(rest, &Limits::default()) {
            args = decoder.args(rest, args);
            match args[0] {
                b"SET" => writer.ok(),
                b"GET" => writer.bulk_shared(value.clone()),
                _ => writer.bulk_double(1234.5),
            }
            args = recycle(args);
            rest = &rest[consumed..];
        }
        assert!(rest.is_empty());
        recycled = recycle(args);
        writer.int(1_000_000);
        writer.out.consume(writer.out.len());
    };
    // The first turn makes the room that all others use.
    serve_turn();
    let before = ALLOCATIONS.get();
    assert!(before > 0, "the counter counts");
    (0..100).for_each(|_| serve_turn());
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
