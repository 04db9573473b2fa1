//! The interpreter as a whole, against recorded replies of redis-server and on its own limits.

use cairn_proto::{ReplyWriter, Resp};
use proptest::prelude::*;
use std::collections::HashMap;

use super::recorded::RECORDED;
use super::{CommandArgs, Functions, Interpreter, LogLevel, Origin, ScriptError, ScriptHost, Sha};

/// A few commands, and what was asked of the host.
#[derive(Default)]
struct Fake {
    integers: HashMap<Vec<u8>, i64>,
    log: Vec<(LogLevel, Vec<u8>)>,
    interrupts: Option<u32>,
}

impl ScriptHost for Fake {
    fn call(&mut self, args: CommandArgs<'_>, resp: Resp, reply: &mut Vec<u8>) {
        let text = match (args[0].to_ascii_lowercase().as_slice(), &args[1..], resp) {
            (b"ping", [], _) => b"+PONG\r\n".to_vec(),
            (b"echo", [text], _) => [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat(),
            (b"get", [_], Resp::V2) => b"$-1\r\n".to_vec(),
            (b"get", [_], Resp::V3) => b"_\r\n".to_vec(),
            (b"hgetall", [_], Resp::V3) => b"%0\r\n".to_vec(),
            (b"mget", keys, _) => {
                [format!("*{}\r\n", keys.len()), "$-1\r\n".repeat(keys.len())].concat().into()
            }
            (b"incr", [key], _) => {
                let n = self.integers.entry(key.to_vec()).or_default();
                *n += 1;
                format!(":{n}\r\n").into()
            }
            (b"raw", [raw], _) => raw.to_vec(),
            (b"count", args, _) => format!(":{}\r\n", args.len()).into(),
            (b"get", _, _) => b"-ERR Wrong number of args calling Redis command from script\r\n".to_vec(),
            _ => b"-ERR Unknown Redis command called from script\r\n".to_vec(),
        };
        reply.extend_from_slice(&text);
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        self.log.push((level, message.to_vec()));
    }

    fn interrupted(&mut self) -> Option<&'static str> {
        match &mut self.interrupts {
            Some(0) => Some("Script killed by user with SCRIPT KILL..."),
            Some(left) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }
}

fn eval_in(interpreter: &mut Interpreter, source: &[u8], host: &mut Fake) -> Result<Vec<u8>, ScriptError> {
    let sha = interpreter.load(source, Origin::Eval)?;
    let mut reply = ReplyWriter::new(Resp::V2);
    interpreter.run(&sha, &[b"k"], &[b"arg"], host, &mut reply)?;
    Ok(reply.out.contiguous().to_vec())
}

/// The reply as a client would read it.
fn eval(source: impl AsRef<[u8]>) -> Vec<u8> {
    let mut interpreter = Interpreter::new().unwrap();
    reply_of(eval_in(&mut interpreter, source.as_ref(), &mut Fake::default()))
}

fn reply_of(result: Result<Vec<u8>, ScriptError>) -> Vec<u8> {
    result.unwrap_or_else(|error| {
        let mut reply = ReplyWriter::new(Resp::V2);
        reply.error(&error.message);
        reply.out.contiguous().to_vec()
    })
}

fn eval_text(source: &str) -> String {
    String::from_utf8(eval(source)).unwrap()
}

#[test]
fn replies_are_those_of_redis_server() {
    // 7.4 has os.clock.
    let later = |script: &[u8]| script.starts_with(b"local c={} for k in pairs(_G)");
    let mut wrong = Vec::new();
    for (script, expected) in RECORDED {
        let reply = eval(script);
        let mut expected = expected.to_vec();
        if later(script) {
            expected = String::from_utf8(expected)
                .unwrap()
                .replace("*35", "*36")
                .replace("$5\r\npairs", "$2\r\nos\r\n$5\r\npairs")
                .into();
        }
        if reply != expected {
            wrong.push(format!(
                "{}\n  redis {}\n  here  {}",
                script.escape_ascii(),
                expected.escape_ascii(),
                reply.escape_ascii()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), RECORDED.len(), wrong.join("\n"));
}

#[test]
fn redis_is_there_as_server_and_says_so_in_errors() {
    assert_eq!(eval_text("return server.call('PING')"), "+PONG\r\n");
    assert_eq!(eval_text("return server.REDIS_VERSION == redis.REDIS_VERSION"), ":1\r\n");
    for (script, error) in [
        ("server.call()", "Please specify at least one argument for this call"),
        ("server.call({})", "Command arguments must be strings or integers"),
        ("server.call('nosuch')", "Unknown command called from script"),
        ("server.call('get')", "Wrong number of args calling command from script"),
    ] {
        let reply = eval_text(script);
        assert!(reply.starts_with(&format!("-ERR {error} script: ")), "{reply}");
    }
    for name in ["redis", "server"] {
        let reply = eval_text(&format!("return {name}.setresp()"));
        assert!(reply.starts_with(&format!("-ERR {name}.setresp() requires one argument.")), "{reply}");
    }
}

#[test]
fn nothing_of_a_script_is_left_for_the_next() {
    let mut interpreter = Interpreter::new().unwrap();
    let mut host = Fake::default();
    for attack in [
        "local _, t = pairs(redis) t.call = nil",
        "for k, v in pairs(_G) do if type(v) == 'table' then v.x = 1 end end",
        "local f, t = pairs(string) rawset(t, 'x', 1)",
        "table.insert(redis, 1)",
        "getmetatable('').__index = function() return 1 end",
        "rawset(getmetatable(''), '__index', nil)",
        "setmetatable(getmetatable(''), {})",
        "getmetatable(_G).__index = nil",
        "rawset(rawget(_G, '_G'), 'x', 1)",
        "local ok, e = pcall(function() return nope end) error(redis)",
    ] {
        assert!(eval_in(&mut interpreter, attack.as_bytes(), &mut host).is_err(), "{attack}");
    }
    let check = b"return {type(redis.call), ('x'):upper(), rawget(string, 'x') == nil, rawget(_G, 'x') == nil, #redis}";
    let reply = eval_in(&mut interpreter, check, &mut host).unwrap();
    assert_eq!(
        reply.escape_ascii().to_string(),
        "*5\\r\\n$8\\r\\nfunction\\r\\n$1\\r\\nX\\r\\n:1\\r\\n:1\\r\\n:0\\r\\n"
    );
}

#[test]
fn a_killed_script_cannot_catch_it() {
    let mut interpreter = Interpreter::new().unwrap();
    let mut host = Fake { interrupts: Some(2), ..Fake::default() };
    let script = b"while true do pcall(function() while true do end end) end";
    let error = eval_in(&mut interpreter, script, &mut host).unwrap_err();
    assert!(
        error.to_string().starts_with("ERR Script killed by user with SCRIPT KILL... script: "),
        "{error}"
    );
    host.interrupts = None;
    assert_eq!(eval_in(&mut interpreter, b"return 1", &mut host).unwrap(), b":1\r\n");
}

fn bounded(limit: usize) -> Interpreter {
    let mut interpreter = Interpreter::new().unwrap();
    interpreter.set_memory_limit(Some(limit));
    interpreter
}

#[test]
fn the_memory_limit_ends_the_script_only() {
    let mut interpreter = bounded(8 << 20);
    let mut host = Fake::default();
    let error =
        eval_in(&mut interpreter, b"local s = 'x' while true do s = s .. s end", &mut host).unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with("OOM Error running script "), "{error}");
    assert!(error.ends_with(", not enough memory: see lua-memory-limit"), "{error}");
    assert_eq!(eval_in(&mut interpreter, b"return 1", &mut host).unwrap(), b":1\r\n");
    // A script may go on without what it did not get.
    let caught = b"return {pcall(string.rep, 'x', 100000000)}";
    assert!(eval_in(&mut interpreter, caught, &mut host).is_ok());
}

#[test]
fn what_a_script_has_left_is_not_what_the_next_fails_for() {
    let mut interpreter = bounded(32 << 20);
    let mut host = Fake::default();
    let small = b"local t = {} while true do t[#t + 1] = {} end";
    let large = b"local t = {} while true do t[#t + 1] = string.rep('x', 1000000) .. #t end";
    let most = b"local t = {} for i = 1, 20 do t[i] = string.rep('x', 1000000) .. i end return 1";
    for _ in 0..3 {
        eval_in(&mut interpreter, small, &mut host).unwrap_err();
        eval_in(&mut interpreter, large, &mut host).unwrap_err();
        assert!(interpreter.used_memory() < 1 << 20, "{} bytes are left", interpreter.used_memory());
        assert_eq!(eval_in(&mut interpreter, most, &mut host).unwrap(), b":1\r\n");
    }
}

#[test]
fn a_library_that_needs_too_much_memory_is_refused_and_no_more() {
    let code = b"#!lua name=big\nlocal t = {} for i = 1, 200 do t[i] = {i} end
        redis.register_function('f', function() return #t end)";
    let small = b"#!lua name=small\nredis.register_function('g', function() return 7 end)";
    let mut outcomes = [0, 0];
    // Every size from just too little, whatever then is the last straw.
    for spare in (0..60_000).step_by(97) {
        let mut functions = Functions::new();
        functions.load(small, false, &mut Fake::default()).unwrap();
        functions.set_memory_limit(Some(functions.used_memory() + spare));
        let loaded = functions.load(code, false, &mut Fake::default());
        outcomes[usize::from(loaded.is_ok())] += 1;
        if let Err(error) = &loaded {
            assert!(error.to_string().contains("not enough memory"), "{error}");
        }
        assert_eq!(functions.counts().libraries, 1 + usize::from(loaded.is_ok()));
        functions.set_memory_limit(None);
        let mut reply = ReplyWriter::new(Resp::V2);
        let none: &[&[u8]] = &[];
        functions.call(b"g", none, none, &mut Fake::default(), &mut reply).unwrap();
        assert_eq!(reply.out.contiguous(), b":7\r\n");
    }
    assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
}

#[test]
fn a_reply_that_does_not_fit_leaves_nothing_behind() {
    // The strings that writing a reply needs are made before, so this mostly ends in the script; whatever
    // the limit, there is a whole reply or none.
    let script = b"local t = {} for i = 1, 2000 do t[i] = {i} end return t";
    let mut outcomes = [0, 0];
    for limit in (200..700).step_by(10) {
        let mut interpreter = bounded(limit << 10);
        let Ok(sha) = interpreter.load(script, Origin::Eval) else { continue };
        let mut reply = ReplyWriter::new(Resp::V2);
        reply.simple("before");
        let none: &[&[u8]] = &[];
        let result = interpreter.run(&sha, none, none, &mut Fake::default(), &mut reply);
        let written = reply.out.contiguous();
        assert_eq!(result.is_err(), written == b"+before\r\n", "{limit} KiB");
        assert_eq!(result.is_ok(), written.ends_with(b"*1\r\n:2000\r\n"), "{limit} KiB");
        outcomes[usize::from(result.is_ok())] += 1;
    }
    assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
}

const NESTED: &str = "local t = {} for i = 1, 100000 do t = {t} end";

#[test]
fn deep_nesting_stops_cjson() {
    let encode = eval_text(&format!("{NESTED} cjson.encode_max_depth(2^31-1) return cjson.encode(t)"));
    assert!(encode.contains("Cannot serialise, excessive nesting (1001)"), "{encode}");
    let decode = eval_text("cjson.decode_max_depth(2^31-1) return cjson.decode(string.rep('[', 100000))");
    assert!(decode.contains("Found too many nested data structures (1001)"), "{decode}");
}

#[test]
fn deep_nesting_stops_cmsgpack() {
    for open in ["\\145", "\\129"] {
        let reply = eval_text(&format!("return cmsgpack.unpack(string.rep('{open}', 100000))"));
        assert!(reply.contains("stack overflow"), "{reply}");
    }
}

#[test]
fn deep_nesting_stops_replies() {
    assert!(eval_text(&format!("{NESTED} return t")).contains("reached lua stack limit"));
    let reply = eval_text("return redis.call('raw', string.rep('*1\\r\\n', 100000))");
    assert!(reply.contains("reached lua stack limit"), "{reply}");
}

#[test]
fn replies_in_resp3_are_tables() {
    let script = |raw: &str, then: &str| {
        eval_text(&format!("redis.setresp(3) local r = redis.call('raw', {raw:?}) return {then}"))
    };
    assert_eq!(script("%1\r\n+a\r\n:1\r\n", "type(next(r.map))"), "$5\r\ntable\r\n");
    assert_eq!(script("%1\r\n$1\r\na\r\n:1\r\n", "r.map.a"), ":1\r\n");
    assert_eq!(script("~1\r\n$1\r\na\r\n", "r.set.a"), ":1\r\n");
    assert_eq!(script(",1.5\r\n", "tostring(r.double)"), "$3\r\n1.5\r\n");
    assert_eq!(script(",inf\r\n", "tostring(r.double)"), "$3\r\ninf\r\n");
    assert_eq!(script("(123\r\n", "r.big_number"), "$3\r\n123\r\n");
    assert_eq!(
        script("=7\r\ntxt:hey\r\n", "r.verbatim_string.format .. r.verbatim_string.string"),
        "$6\r\ntxthey\r\n"
    );
    assert_eq!(script("#t\r\n", "r"), ":1\r\n");
    assert_eq!(script("_\r\n", "type(r)"), "$3\r\nnil\r\n");
    assert_eq!(script("|1\r\n+a\r\n+b\r\n:5\r\n", "r"), ":5\r\n");
    assert!(script("$5\r\nab", "r").contains("malformed command reply"));
}

#[test]
fn errors_of_commands_are_marked_as_counted() {
    let mut interpreter = Interpreter::new().unwrap();
    let mut host = Fake::default();
    assert!(eval_in(&mut interpreter, b"return redis.call('nope')", &mut host).unwrap_err().counted);
    assert!(!eval_in(&mut interpreter, b"return nope", &mut host).unwrap_err().counted);
}

#[test]
fn log_goes_to_the_host() {
    let mut interpreter = Interpreter::new().unwrap();
    let mut host = Fake::default();
    eval_in(&mut interpreter, b"redis.log(redis.LOG_WARNING, 'a', 1, {}, 'b')", &mut host).unwrap();
    assert_eq!(host.log, [(LogLevel::Warning, b"a 1 b".to_vec())]);
}

#[test]
fn a_command_takes_any_number_of_arguments() {
    for count in [1, 15, 16, 17, 200, 4000] {
        let script = format!(
            "local t = {{}} for i = 1, {count} do t[i] = i end return redis.call('count', unpack(t))"
        );
        assert_eq!(eval_text(&script), format!(":{count}\r\n"));
    }
}

#[test]
fn flush_forgets_scripts_and_their_settings() {
    let mut interpreter = Interpreter::new().unwrap();
    let mut host = Fake::default();
    eval_in(&mut interpreter, b"cjson.encode_number_precision(3)", &mut host).unwrap();
    let script = b"return cjson.encode(3.14159)";
    assert_eq!(eval_in(&mut interpreter, script, &mut host).unwrap(), b"$4\r\n3.14\r\n");
    let sha = Sha::of(script);
    assert!(interpreter.script(&sha).is_some());
    interpreter.flush().unwrap();
    assert!(interpreter.script(&sha).is_none());
    let mut reply = ReplyWriter::new(Resp::V2);
    let none: &[&[u8]] = &[];
    let error = interpreter.run(&sha, none, none, &mut host, &mut reply).unwrap_err();
    assert_eq!(error.to_string(), "NOSCRIPT No matching script. Please use EVAL.");
    assert_eq!(eval_in(&mut interpreter, script, &mut host).unwrap(), b"$7\r\n3.14159\r\n");
}

/// A Lua expression for a value, with what `canonical` in the tests below makes of it.
fn lua_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i32>().prop_map(|n| n.to_string()),
        (-1e9f64..1e9).prop_map(|n| format!("{n:.3}")),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| {
            let escaped: String = bytes.iter().map(|b| format!("\\{b:03}")).collect();
            format!("\"{escaped}\"")
        }),
    ];
    leaf.prop_recursive(5, 64, 20, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..20)
                .prop_map(|items| format!("{{{}}}", items.join(","))),
            proptest::collection::btree_map("[a-z]{1,8}", inner, 0..8).prop_map(|pairs| {
                let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("[\"{k}\"]={v}")).collect();
                format!("{{{}}}", pairs.join(","))
            }),
        ]
    })
}

/// Compares two values deeply.
const SAME: &str = "local function same(a, b)
  if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end ";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cjson_reads_what_it_writes(value in lua_value()) {
        let script = format!("{SAME} local v = {value} return same(v, cjson.decode(cjson.encode(v)))");
        prop_assert_eq!(eval_text(&script), ":1\r\n");
    }

    #[test]
    fn cmsgpack_reads_what_it_writes(value in lua_value()) {
        let script = format!("{SAME} local v = {value} return same(v, cmsgpack.unpack(cmsgpack.pack(v)))");
        prop_assert_eq!(eval_text(&script), ":1\r\n");
    }

    #[test]
    fn no_input_crashes_a_library(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut interpreter = bounded(64 << 20);
        let mut host = Fake::default();
        let escaped: String = bytes.iter().map(|b| format!("\\{b:03}")).collect();
        let script = format!(
            "local s = \"{escaped}\"
             for _, f in ipairs{{cmsgpack.unpack, cjson.decode, loadstring}} do pcall(f, s) end
             pcall(struct.unpack, s, s) pcall(struct.pack, s, s, 1, 2, s) pcall(struct.size, s)
             pcall(redis.call, 'raw', s) return 1"
        );
        let reply = eval_in(&mut interpreter, script.as_bytes(), &mut host).unwrap();
        prop_assert_eq!(reply, b":1\r\n".to_vec());
    }
}
