//! Comparisons and exchanges on the server: by a script, and by a function of a library.

use super::{Action, Answer, Object, Reply, Worker, number_or_empty, text};

/// Sets a key to a value if it has another; answers whether it did, and what was there.
const SWAP: &str = "local v = redis.call('GET', KEYS[1]) or '' \
    if v == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) return {1, v} end return {0, v}";

impl Worker {
    pub(super) fn swap_by_program(&mut self, object: Object) {
        let by_function = self.rng.below(2) == 0;
        if by_function && !self.has_library() {
            return;
        }
        let program: [&[u8]; 2] = match by_function {
            true => [b"FCALL", b"swap"],
            false => [b"EVAL", SWAP.as_bytes()],
        };
        let (key, to) = (self.key(object), self.element());
        let from = self.seen.get(&object.lane).filter(|(of, _)| *of == object).and_then(|(_, value)| *value);
        let expected = from.map_or(String::new(), text);
        let call = self.shared.now();
        let answer = self.client.call(&[
            program[0],
            program[1],
            b"1",
            key.as_bytes(),
            expected.as_bytes(),
            text(to).as_bytes(),
        ]);
        let parse = |reply: &Reply| match reply {
            Reply::Array(items) => match items.as_slice() {
                [Reply::Integer(done), found] => Some((*done == 1, number_or_empty(found)?)),
                _ => None,
            },
            _ => None,
        };
        match self.expect(answer, parse) {
            Answer::Reply((true, _)) => self.done(object, call, Action::Swap { from, to }),
            Answer::Reply((false, found)) => {
                self.done(object, call, Action::Read(found));
                self.record_op(object, call, self.shared.now(), Action::Refused(to));
            }
            Answer::Refused(_) => self.refused(object, call, to),
            Answer::Unknown(_) => self.unknown(object, call, Action::Swap { from, to }),
            Answer::Unsent => {}
        }
    }

    /// Loads the library unless this client has; others load it as well, in place of the same one. A function that is missing
    /// after that is a reply that no server should give.
    fn has_library(&mut self) -> bool {
        if !self.loaded || self.rng.below(50) == 0 {
            let code = format!(
                "#!lua name=cluster_load\nredis.register_function('swap', function(KEYS, ARGV) {SWAP} end)"
            );
            let answer = self.client.call(&[b"FUNCTION", b"LOAD", b"REPLACE", code.as_bytes()]);
            let is_name = |reply: &Reply| (*reply == Reply::Bulk(b"cluster_load".to_vec())).then_some(());
            self.loaded |= matches!(self.expect(answer, is_name), Answer::Reply(()));
        }
        self.loaded
    }
}
