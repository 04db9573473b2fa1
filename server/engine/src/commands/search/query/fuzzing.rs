//! The body of a fuzz target: any arguments to any question, a panic or a broken reply is a bug.

use std::cell::RefCell;

use cairn_proto::{Resp, decode_reply};

use crate::client::Slot;
use crate::testing::TestEngine;

/// Each line is an argument; the first byte says which command and which protocol.
pub const SAMPLES: &[&[u8]] = &[
    b"\x00h\nhello world\nWITHSCORES\nSORTBY\nn\nDESC\nLIMIT\n0\n5\nRETURN\n3\nt\nAS\nx\nDIALECT\n2",
    b"\x08h\n(hell*|%wrld%) -@tag:{a} @n:[(1 +inf]\nHIGHLIGHT\nFIELDS\n1\nt\nTAGS\n<b>\n</b>\nSUMMARIZE\nLEN\n3",
    b"\x00h\n*=>[KNN $k @v $b AS d]\nPARAMS\n4\nk\n2\nb\nabcd\nSORTBY\nd\nDIALECT\n2",
    b"\x08j\n*\nFORMAT\nEXPAND\nDIALECT\n3\nFILTER\nn\n(1\n+inf\nINKEYS\n1\nj:1\nWITHSORTKEYS\nSORTBY\ntext",
    b"\x01h\n*\nLOAD\n*\nGROUPBY\n1\n@tag\nREDUCE\nTOLIST\n1\n@t\nAS\nl\nSORTBY\n2\n@tag\nDESC\nMAX\n3",
    b"\x01j\n*\nLOAD\n3\n$.tags[*]\nAS\ntags\nAPPLY\nupper(@tags)\nAS\nu\nFILTER\n@u != 'A'\nLIMIT\n0\n2\nDIALECT\n3",
    b"\x01h\n*\nLOAD\n2\n@t\n@__key\nWITHCURSOR\nCOUNT\n1\nMAXIDLE\n10",
    b"\x02h\nSEARCH\nLIMITED\nQUERY\nhello|world\nNOCONTENT",
    b"\x02h\nAGGREGATE\nQUERY\n*\nGROUPBY\n0\nREDUCE\nCOUNT\n0",
    b"\x03h\nhello -world (a|b)=>{$weight: 2}",
    b"\x04h\nhelo wrld\nDISTANCE\n2\nTERMS\nINCLUDE\nwords\nFULLSCOREINFO",
    b"\x05h\ntag",
    b"\x06READ\nh\n1\nCOUNT\n3",
];

struct World {
    engine: TestEngine,
    clients: [Slot; 2],
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(world());
}

fn world() -> World {
    let mut engine = TestEngine::new();
    let clients = [engine.connect(Resp::V2), engine.connect(Resp::V3)];
    for line in [
        "FT.CREATE h PREFIX 1 h: SCHEMA t TEXT tag TAG SORTABLE n NUMERIC SORTABLE g GEO v VECTOR FLAT 6 TYPE FLOAT32 DIM 1 \
         DISTANCE_METRIC L2 plain NUMERIC",
        "FT.CREATE j ON JSON PREFIX 1 j: SCHEMA $.t AS text TEXT SORTABLE $.n AS n NUMERIC $.tags[*] AS tags TAG",
        "FT.DICTADD words hello world",
        "HSET h:1 t hello tag a,b n 1 g 1,1 v abcd plain 5",
        "HSET h:2 t world tag a n 2 g 2,2 v efgh",
        "HSET h:3 t hello-world tag c n x",
        "HSET h:4 t gone other 1.50",
        "JSON.SET j:1 $ {\"t\":\"hello\",\"n\":1,\"tags\":[\"a\",\"b\"],\"more\":{\"x\":[null,1.5,true]}}",
        "JSON.SET j:2 $ {\"n\":2,\"tags\":[]}",
    ] {
        engine.run(clients[0], line);
    }
    World { engine, clients }
}

/// Sends the command that the input describes; every reply must be one, whole, and nothing more.
pub fn fuzz_search(data: &[u8]) {
    let Some((&which, rest)) = data.split_first() else { return };
    let name: &[u8] = match which & 7 {
        0 => b"FT.SEARCH",
        1 => b"FT.AGGREGATE",
        2 => b"FT.PROFILE",
        3 => b"FT.EXPLAINCLI",
        4 => b"FT.SPELLCHECK",
        5 => b"FT.TAGVALS",
        6 => b"FT.CURSOR",
        _ => b"FT.EXPLAIN",
    };
    let args: Vec<&[u8]> = std::iter::once(name).chain(rest.split(|&byte| byte == b'\n')).collect();
    WORLD.with_borrow_mut(|world| {
        let client = world.clients[usize::from(which >> 3 & 1)];
        let reply = world.engine.send(client, &args);
        let (_, len) = decode_reply(&reply).expect("a reply").expect("a whole reply");
        assert_eq!(len, reply.len(), "one reply");
    });
}
