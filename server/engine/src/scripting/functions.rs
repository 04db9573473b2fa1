//! The libraries of functions that are loaded, and the Lua state that they run in.

use cairn_proto::{ReplyWriter, Resp};
use std::sync::Arc;

use super::library::{Function, Libraries, Library, metadata};
use super::vm::{CommandArgs, Environment, OUTSIDE, Program, ScriptError, ScriptHost, Vm};

/// What FUNCTION RESTORE does about libraries that are there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestorePolicy {
    /// A library that is there is an error.
    #[default]
    Append,
    /// A library that is there is replaced.
    Replace,
    /// All libraries that are there go.
    Flush,
}

/// How much is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LibraryCounts {
    pub libraries: usize,
    pub functions: usize,
}

/// A host for libraries that have been loaded before, by this node or by another: it does nothing.
pub struct Unattended;

impl ScriptHost for Unattended {
    fn call(&mut self, _: CommandArgs<'_>, _: Resp, reply: &mut Vec<u8>) {
        reply.extend_from_slice(OUTSIDE);
    }
}

/// Libraries and what runs them: a part of the state that is durable and replicated, of which the libraries' texts are all
/// that is kept. The Lua state is made when the first library is loaded.
///
/// ```
/// use cairn_engine::scripting::{CommandArgs, Functions};
/// use cairn_proto::{ReplyWriter, Resp};
///
/// let mut functions = Functions::new();
/// let mut host = |_: CommandArgs, _: Resp, reply: &mut Vec<u8>| reply.extend_from_slice(b"$5\r\nhello\r\n");
/// let code = b"#!lua name=lib\nredis.register_function('greet', function(keys, args) return redis.call('GET', keys[1]) end)";
/// assert_eq!(functions.load(code, false, &mut host)?, b"lib");
/// let mut reply = ReplyWriter::new(Resp::V2);
/// functions.call(b"greet", &[b"greeting"], &[b""; 0], &mut host, &mut reply)?;
/// assert_eq!(reply.out.contiguous(), b"$5\r\nhello\r\n");
/// # Ok::<(), cairn_engine::scripting::ScriptError>(())
/// ```
pub struct Functions {
    vm: Option<Vm>,
    set: Libraries,
    memory_limit: Option<usize>,
    /// The journal position of the last change: who is told of libraries waits for it.
    pub changed_seq: u64,
}

impl Functions {
    /// No libraries, and no limit of memory.
    #[expect(clippy::new_without_default, reason = "as Interpreter")]
    pub fn new() -> Functions {
        Functions { vm: None, set: Libraries::default(), memory_limit: None, changed_seq: 0 }
    }

    /// Bounds what Lua may have allocated, in bytes. What has been loaded before, by this node or by another, must be loaded
    /// without a limit: it is a part of the state.
    pub fn set_memory_limit(&mut self, limit: Option<usize>) {
        self.memory_limit = limit;
        if let Some(vm) = &mut self.vm {
            vm.set_memory_limit(limit);
        }
    }

    /// Loads a library and returns its name. One of the same name is an error unless it is to be replaced. When it fails,
    /// nothing has changed.
    pub fn load(
        &mut self,
        code: &[u8],
        replace: bool,
        host: &mut dyn ScriptHost,
    ) -> Result<Vec<u8>, ScriptError> {
        let vm = vm(&mut self.vm, self.memory_limit)?;
        load_into(vm, &mut self.set, code, replace, host).map_err(refusal)
    }

    /// Forgets a library. False if there is none of that name.
    pub fn delete(&mut self, name: &[u8]) -> bool {
        let Some(library) = self.set.remove(name) else { return false };
        if let Some(vm) = &mut self.vm {
            release(vm, &library);
        }
        true
    }

    /// Forgets all libraries. False if there were none.
    pub fn clear(&mut self) -> bool {
        let any = self.set.iter().len() > 0;
        self.vm = None;
        self.set = Libraries::default();
        any
    }

    /// Loads several libraries, all or none; what is there already is dealt with as `policy` says.
    ///
    /// `each` calls its argument with the text of each library, in order, and passes errors on.
    pub fn restore(
        &mut self,
        policy: RestorePolicy,
        host: &mut dyn ScriptHost,
        each: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), ScriptError>) -> Result<(), ScriptError>,
    ) -> Result<(), ScriptError> {
        let vm = vm(&mut self.vm, self.memory_limit)?;
        let mut fresh = Libraries::default();
        let joined =
            each(&mut |code| load_into(vm, &mut fresh, code, false, host).map(drop).map_err(refusal))
                .and_then(|()| can_join(&self.set, &fresh, policy).map_err(refusal));
        if let Err(error) = joined {
            fresh.iter().for_each(|library| release(vm, library));
            return Err(error);
        }
        if policy == RestorePolicy::Flush {
            std::mem::take(&mut self.set).into_iter().for_each(|library| release(vm, &library));
        }
        let replaced: Vec<Library> =
            fresh.iter().filter_map(|library| self.set.remove(&library.name)).collect();
        replaced.iter().for_each(|library| release(vm, library));
        fresh.into_iter().for_each(|library| self.set.insert(library));
        Ok(())
    }

    /// All libraries, by name.
    pub fn libraries(&self) -> impl ExactSizeIterator<Item = &Library> {
        self.set.iter()
    }

    /// The texts of all libraries, by name: everything that a snapshot needs.
    pub fn codes(&self) -> Vec<Arc<[u8]>> {
        self.set.iter().map(|library| Arc::clone(&library.code)).collect()
    }

    /// A function, by its name in any case of letters.
    pub fn function(&self, name: &[u8]) -> Option<&Function> {
        self.set.function(name)
    }

    pub fn counts(&self) -> LibraryCounts {
        LibraryCounts { libraries: self.set.iter().len(), functions: self.set.function_count() }
    }

    /// Bytes of the libraries' texts.
    pub fn code_bytes(&self) -> usize {
        self.set.code_bytes()
    }

    /// Bytes that Lua has allocated (`used_memory_vm_functions`).
    pub fn used_memory(&self) -> usize {
        self.vm.as_ref().map_or(0, Vm::used_memory)
    }

    /// Runs a function and writes what it returns to `reply`; nothing is written if it fails.
    pub fn call<K: AsRef<[u8]>, A: AsRef<[u8]>>(
        &mut self,
        name: &[u8],
        keys: &[K],
        args: &[A],
        host: &mut dyn ScriptHost,
        reply: &mut ReplyWriter,
    ) -> Result<(), ScriptError> {
        let (Some(vm), Some(function)) = (&mut self.vm, self.set.function(name)) else {
            return Err(ScriptError::new("ERR Function not found"));
        };
        vm.run(Program::Function(&function.name), function.callback, keys, args, host, reply)
    }
}

impl std::fmt::Debug for Functions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.set.iter()).finish()
    }
}

/// The Lua state, which is made now if there is none.
fn vm(place: &mut Option<Vm>, memory_limit: Option<usize>) -> Result<&mut Vm, ScriptError> {
    Ok(match place {
        Some(vm) => vm,
        None => {
            let mut vm = Vm::new(Environment::Functions)?;
            vm.set_memory_limit(memory_limit);
            place.insert(vm)
        }
    })
}

fn refusal(message: Vec<u8>) -> ScriptError {
    ScriptError::new([b"ERR ".as_slice(), &message].concat())
}

fn release(vm: &mut Vm, library: &Library) {
    library.functions.iter().for_each(|function| vm.release(function.callback));
}

/// Adds a library and returns its name. The error is the text after `ERR `.
fn load_into(
    vm: &mut Vm,
    set: &mut Libraries,
    code: &[u8],
    replace: bool,
    host: &mut dyn ScriptHost,
) -> Result<Vec<u8>, Vec<u8>> {
    let metadata = metadata(code)?;
    let name = metadata.name;
    if set.get(&name).is_some() && !replace {
        return Err([b"Library '".as_slice(), &name, b"' already exists"].concat());
    }
    let body = vm
        .compile(&code[metadata.len..], c"@user_function")
        .map_err(|message| [b"Error compiling function: ".as_slice(), c_string(&message)].concat())?;
    let registered = vm.register(body, host);
    vm.release(body);
    let registered = registered
        .map_err(|message| [b"Error registering functions: ".as_slice(), c_string(&message)].concat())?;
    let functions: Vec<Function> = registered.into_iter().map(Function::from).collect();
    let library = Library { name: name.as_slice().into(), code: code.into(), functions };
    let names = library.functions.iter().map(|function| &*function.name);
    let refusal = match set.collision(names, |other| other == name) {
        Some(function) => Some([b"Function ".as_slice(), function, b" already exists"].concat()),
        None if library.functions.is_empty() => Some(b"No functions registered".to_vec()),
        None => None,
    };
    if let Some(refusal) = refusal {
        release(vm, &library);
        return Err(refusal);
    }
    if let Some(old) = set.remove(&name) {
        release(vm, &old);
    }
    set.insert(library);
    Ok(name)
}

/// May the libraries of `fresh` be added? The error is the text after `ERR `.
fn can_join(set: &Libraries, fresh: &Libraries, policy: RestorePolicy) -> Result<(), Vec<u8>> {
    if policy == RestorePolicy::Flush {
        return Ok(());
    }
    let there = fresh.iter().find(|library| set.get(&library.name).is_some());
    if let Some(library) = there.filter(|_| policy == RestorePolicy::Append) {
        return Err([b"Library ".as_slice(), &library.name, b" already exists"].concat());
    }
    let functions = fresh.iter().flat_map(|library| &library.functions).map(|function| &*function.name);
    match set.collision(functions, |library| fresh.get(library).is_some()) {
        Some(function) => Err([b"Function ".as_slice(), function, b" already exists"].concat()),
        None => Ok(()),
    }
}

/// Messages of Lua end, in Redis, where C thinks they do.
fn c_string(message: &[u8]) -> &[u8] {
    message.split(|&c| c == 0).next().unwrap_or_default()
}
