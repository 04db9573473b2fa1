//! Compiling, keeping and running scripts by their SHA-1.

use cairn_proto::ReplyWriter;

use super::cache::{Origin, Script, ScriptCache, Sha};
use super::shebang;
use super::vm::{Environment, Program, ScriptError, ScriptHost, Vm};

/// A Lua interpreter with the scripts that it has compiled.
///
/// ```
/// use cairn_engine::scripting::{CommandArgs, Interpreter, Origin};
/// use cairn_proto::{ReplyWriter, Resp};
///
/// let mut interpreter = Interpreter::new()?;
/// let sha = interpreter.load(b"return redis.call('GET', KEYS[1])", Origin::Eval)?;
/// let mut reply = ReplyWriter::new(Resp::V2);
/// let mut host = |args: CommandArgs, _: Resp, reply: &mut Vec<u8>| {
///     assert_eq!(args, [b"GET".as_slice(), b"greeting"]);
///     reply.extend_from_slice(b"$5\r\nhello\r\n");
/// };
/// let args: &[&[u8]] = &[];
/// interpreter.run(&sha, &[b"greeting"], args, &mut host, &mut reply)?;
/// assert_eq!(reply.out.contiguous(), b"$5\r\nhello\r\n");
/// # Ok::<(), cairn_engine::scripting::ScriptError>(())
/// ```
pub struct Interpreter {
    vm: Vm,
    cache: ScriptCache,
    memory_limit: Option<usize>,
}

impl Interpreter {
    /// No scripts, and no limit of memory.
    pub fn new() -> Result<Interpreter, ScriptError> {
        let vm = Vm::new(Environment::Scripts)?;
        Ok(Interpreter { vm, cache: ScriptCache::default(), memory_limit: None })
    }

    /// Bounds what Lua may have allocated, in bytes (Redis has no such limit).
    pub fn set_memory_limit(&mut self, limit: Option<usize>) {
        self.memory_limit = limit;
        self.vm.set_memory_limit(limit);
    }

    /// Compiles a script if it is not known, and makes it known by its SHA-1 (`EVAL`, `SCRIPT LOAD`).
    ///
    /// The flags that it declares are then in [`Interpreter::script`]: check them before running it.
    pub fn load(&mut self, source: &[u8], origin: Origin) -> Result<Sha, ScriptError> {
        let sha = Sha::of(source);
        if self.cache.touch(&sha, origin).is_some() {
            return Ok(sha);
        }
        let (flags, shebang) =
            shebang::parse(source).map_err(|message| ScriptError::new(format!("ERR {message}")))?;
        let function = self.vm.compile(&source[shebang..], c"@user_script").map_err(|message| {
            ScriptError::new([b"ERR Error compiling script (new function): ".as_slice(), &message].concat())
        })?;
        let freed = self.cache.insert(sha, source.into(), flags, function, origin);
        if let Some(function) = freed {
            self.vm.release(function);
        }
        Ok(sha)
    }

    /// A script that is known (`EVALSHA`, `SCRIPT EXISTS`).
    pub fn script(&self, sha: &Sha) -> Option<&Script> {
        self.cache.get(sha)
    }

    pub fn cache(&self) -> &ScriptCache {
        &self.cache
    }

    /// Bytes that Lua has allocated (`used_memory_vm_eval`).
    pub fn used_memory(&self) -> usize {
        self.vm.used_memory()
    }

    /// Forgets every script and starts a new interpreter (`SCRIPT FLUSH`).
    pub fn flush(&mut self) -> Result<(), ScriptError> {
        let mut fresh = Interpreter::new()?;
        fresh.set_memory_limit(self.memory_limit);
        self.cache.clear();
        std::mem::swap(&mut fresh.cache, &mut self.cache);
        *self = fresh;
        Ok(())
    }

    /// Runs a script that is known and writes what it returns to `reply`; nothing is written if it fails.
    /// An unknown `sha` is Redis's NOSCRIPT error.
    pub fn run<K: AsRef<[u8]>, A: AsRef<[u8]>>(
        &mut self,
        sha: &Sha,
        keys: &[K],
        args: &[A],
        host: &mut dyn ScriptHost,
        reply: &mut ReplyWriter,
    ) -> Result<(), ScriptError> {
        let Some(script) = self.cache.touch(sha, Origin::Eval) else {
            return Err(ScriptError::new("NOSCRIPT No matching script. Please use EVAL."));
        };
        let function = script.function;
        self.vm.run(Program::Script(sha), function, keys, args, host, reply)
    }
}
