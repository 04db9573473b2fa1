//! Libraries: a text whose first line is `#!lua name=…`, and the functions that it registers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::ScriptFlags;
use super::register::Registered;

/// The one engine there is, as FUNCTION LIST and STATS name it.
pub const ENGINE: &str = "LUA";

pub(super) const NAME_RULE: &str = "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";

/// A function of a library.
#[derive(Debug)]
pub struct Function {
    pub name: Arc<[u8]>,
    pub description: Option<Box<[u8]>>,
    pub flags: ScriptFlags,
    /// The reference of the Lua function.
    pub(super) callback: i32,
}

impl From<Registered> for Function {
    fn from(registered: Registered) -> Function {
        Function {
            name: registered.name.into(),
            description: registered.description.map(Into::into),
            flags: registered.flags,
            callback: registered.callback,
        }
    }
}

/// A library.
#[derive(Debug)]
pub struct Library {
    pub name: Arc<[u8]>,
    /// The text as it was loaded, first line included: all that is kept of the library on disk.
    pub code: Arc<[u8]>,
    /// In the order in which it registered them.
    pub functions: Vec<Function>,
}

/// Libraries, and their functions by name. Names of functions are found in any case of letters, those of libraries are not.
#[derive(Debug, Default)]
pub(super) struct Libraries {
    by_name: BTreeMap<Arc<[u8]>, Library>,
    /// By name in lower case.
    functions: HashMap<Box<[u8]>, Place>,
    code_bytes: usize,
}

/// Where a function is.
#[derive(Debug)]
struct Place {
    library: Arc<[u8]>,
    index: usize,
}

impl Libraries {
    pub(super) fn get(&self, name: &[u8]) -> Option<&Library> {
        self.by_name.get(name)
    }

    /// All of them, by name.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Library> {
        self.by_name.values()
    }

    pub(super) fn function(&self, name: &[u8]) -> Option<&Function> {
        let found = match name.iter().any(u8::is_ascii_uppercase) {
            true => self.functions.get(name.to_ascii_lowercase().as_slice()),
            false => self.functions.get(name),
        };
        let Place { library, index } = found?;
        Some(&self.by_name[library].functions[*index])
    }

    pub(super) fn function_count(&self) -> usize {
        self.functions.len()
    }

    /// Bytes of text held.
    pub(super) fn code_bytes(&self) -> usize {
        self.code_bytes
    }

    /// Which of these functions is there already, in a library that is not replaced?
    pub(super) fn collision<'a>(
        &self,
        mut functions: impl Iterator<Item = &'a [u8]>,
        is_replaced: impl Fn(&[u8]) -> bool,
    ) -> Option<&'a [u8]> {
        functions.find(|name| {
            let owner = self.functions.get(name.to_ascii_lowercase().as_slice());
            owner.is_some_and(|place| !is_replaced(&place.library))
        })
    }

    /// Adds a library that is not there, whose functions are not there either.
    pub(super) fn insert(&mut self, library: Library) {
        for (index, function) in library.functions.iter().enumerate() {
            let name = function.name.to_ascii_lowercase().into_boxed_slice();
            let before = self.functions.insert(name, Place { library: Arc::clone(&library.name), index });
            assert!(before.is_none(), "a function belongs to one library");
        }
        self.code_bytes += library.code.len();
        let before = self.by_name.insert(Arc::clone(&library.name), library);
        assert!(before.is_none(), "a library is added once");
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Library> {
        let library = self.by_name.remove(name)?;
        for function in &library.functions {
            self.functions.remove(function.name.to_ascii_lowercase().as_slice());
        }
        self.code_bytes -= library.code.len();
        Some(library)
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = Library> {
        self.by_name.into_values()
    }
}

/// May a library or a function be called so?
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&c| c.is_ascii_alphanumeric() || c == b'_')
}

/// What the first line of a library says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) name: Vec<u8>,
    /// The length of the line without its line feed, which stays so that line numbers are right.
    pub(super) len: usize,
}

/// Reads the first line of a library. The error is the text after `ERR `.
pub(super) fn metadata(code: &[u8]) -> Result<Metadata, Vec<u8>> {
    if !code.starts_with(b"#!") {
        return Err(b"Missing library metadata".to_vec());
    }
    // Redis looks for the end of the line in a C string.
    let end = code.iter().position(|&c| c == b'\n' || c == 0).filter(|&at| code[at] == b'\n');
    let words = end.and_then(|end| cairn_proto::split_args(&code[..end]));
    let (Some(len), Some(words)) = (end, words.filter(|words| !words.is_empty())) else {
        return Err(b"Invalid library metadata".to_vec());
    };
    let mut name = None;
    for word in &words[1..] {
        let value = word.split_at_checked(5).filter(|(key, _)| key.eq_ignore_ascii_case(b"name="));
        let Some((_, value)) = value else {
            return Err([b"Invalid metadata value given: ".as_slice(), word].concat());
        };
        if name.replace(value).is_some() {
            return Err(b"Invalid metadata value, name argument was given multiple times".to_vec());
        }
    }
    let name = name.ok_or_else(|| b"Library name was not given".to_vec())?;
    if !is_name(name) {
        return Err(NAME_RULE.into());
    }
    let engine = words[0].get(2..).unwrap_or_default();
    if !engine.eq_ignore_ascii_case(ENGINE.as_bytes()) {
        return Err([b"Engine '".as_slice(), engine, b"' not found"].concat());
    }
    Ok(Metadata { name: name.to_vec(), len })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: &[u8]) -> String {
        String::from_utf8(metadata(code).unwrap_err()).unwrap()
    }

    #[test]
    fn the_first_line_names_engine_and_library() {
        let code = b"#!LUA NAME=lib_1\nreturn 1";
        assert_eq!(metadata(code), Ok(Metadata { name: b"lib_1".to_vec(), len: 16 }));
    }

    #[test]
    fn a_first_line_that_says_something_else_is_refused() {
        for (code, expected) in [
            ("", "Missing library metadata"),
            ("return 1\n", "Missing library metadata"),
            ("#!lua name=x", "Invalid library metadata"),
            ("#!lua\0name=x\n", "Invalid library metadata"),
            ("#!lua \"\n", "Invalid library metadata"),
            ("#!lua\n", "Library name was not given"),
            ("#!\n", "Library name was not given"),
            ("#!lua name=\n", NAME_RULE),
            ("#!js name=a-b\n", NAME_RULE),
            ("#!js name=ab\n", "Engine 'js' not found"),
            ("#!lua foo=1 name=a\n", "Invalid metadata value given: foo=1"),
            ("#!lua name=a name=a\n", "Invalid metadata value, name argument was given multiple times"),
        ] {
            assert_eq!(refusal(code.as_bytes()), expected, "{code:?}");
        }
    }
}
