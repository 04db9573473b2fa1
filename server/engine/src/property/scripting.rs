//! Random scripts, and libraries of functions that come, go and are called.

use super::{key, one_in, pick, words};
use crate::rdb;
use crate::rng::Rng;

/// What scripts and functions do; `k` is a key, `a` an argument.
const BODIES: &[&str] = &[
    "return redis.call('SET', k, a)",
    "return redis.call('INCR', k)",
    "redis.call('RPUSH', k, a) return redis.call('LRANGE', k, 0, -1)",
    "redis.pcall('SADD', k, a, math.random(10)) return redis.pcall('SPOP', k)",
    "redis.call('SET', k, a) error('after a write')",
    "redis.call('SET', k, a, 'PX', 3) return redis.call('PTTL', k)",
    "redis.call('SELECT', 1) return redis.call('HSET', k, a, os.clock())",
    "return redis.call('GET', k)",
    "return nosuch",
];

/// One command.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    match rng.below(12) {
        0 => words(rng, pick(rng, &["FUNCTION FLUSH", "FUNCTION FLUSH ASYNC", "FUNCTION FLUSH NOW"])),
        1 => words(rng, pick(rng, &["FUNCTION DELETE l0", "FUNCTION DELETE l1", "FUNCTION DELETE l2"])),
        2 => words(rng, pick(rng, &["FUNCTION LIST", "FUNCTION STATS", "FUNCTION DUMP", "SCRIPT FLUSH"])),
        3 => {
            let libraries: Vec<Vec<u8>> = (0..rng.below(3)).map(|_| library(rng)).collect();
            let mut command = words(rng, "FUNCTION RESTORE");
            command.push(rdb::dump_libraries(&libraries));
            if !one_in(rng, 3) {
                command.push(pick(rng, &["APPEND", "REPLACE", "FLUSH"]).into());
            }
            command
        }
        4..=6 => {
            let mut command = words(rng, pick(rng, &["FUNCTION LOAD", "FUNCTION LOAD REPLACE"]));
            command.push(library(rng));
            command
        }
        7 => {
            let shebang = pick(rng, &["", "", "#!lua\n", "#!lua flags=no-writes\n", "#!lua flags=nosuch\n"]);
            let script = format!("{shebang}local k, a = KEYS[1], ARGV[1] {}", pick(rng, BODIES));
            let name = pick(rng, &["EVAL", "EVAL", "EVAL_RO"]);
            vec![name.into(), script.into_bytes(), b"1".to_vec(), key(rng), b"3".to_vec()]
        }
        _ => {
            let name = pick(rng, &["FCALL", "FCALL", "FCALL_RO"]);
            let function = pick(rng, &["f0", "f1", "f2", "F3"]);
            words(rng, &format!("{name} {function} 1 K {}", rng.below(5)))
        }
    }
}

/// The text of a library, which need not load.
fn library(rng: &Rng) -> Vec<u8> {
    let mut code = format!("#!lua name=l{}\n", rng.below(3));
    for _ in 0..rng.below(3) {
        let (name, body) = (pick(rng, &["f0", "f1", "f2", "f3"]), pick(rng, BODIES));
        let flags = pick(rng, &["", "", "'no-writes'", "'allow-oom'"]);
        code += &format!(
            "redis.register_function{{function_name='{name}', flags={{{flags}}}, callback=function(keys, args) \
             local k, a = keys[1], args[1] {body} end}}\n"
        );
    }
    if one_in(rng, 10) {
        code += "return nosuch";
    }
    code.into_bytes()
}
