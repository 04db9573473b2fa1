//! The first line of a script, if it is `#!lua flags=…`.

/// What a script declares about itself. A script without a shebang line declares nothing: then each command that
/// it calls is checked by itself (Redis's compatibility mode).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptFlags {
    /// There is a shebang line, so the flags count.
    pub declared: bool,
    /// `no-writes`: may run where writes are refused, and may not write.
    pub no_writes: bool,
    /// `allow-oom`: may run and write when over `maxmemory`.
    pub allow_oom: bool,
    /// `allow-stale`: may run on a replica that is out of date.
    pub allow_stale: bool,
    /// `no-cluster`: refused in a cluster.
    pub no_cluster: bool,
    /// `allow-cross-slot-keys`: may touch keys of several slots.
    pub allow_cross_slot_keys: bool,
}

/// A flag's name, and its place.
type NamedFlag = (&'static str, fn(&mut ScriptFlags) -> &mut bool);

/// In the order in which FUNCTION LIST names them.
const FLAGS: [NamedFlag; 5] = [
    ("no-writes", |flags| &mut flags.no_writes),
    ("allow-oom", |flags| &mut flags.allow_oom),
    ("allow-stale", |flags| &mut flags.allow_stale),
    ("no-cluster", |flags| &mut flags.no_cluster),
    ("allow-cross-slot-keys", |flags| &mut flags.allow_cross_slot_keys),
];

impl ScriptFlags {
    /// Sets the flag of this name. False if there is none.
    pub(super) fn set(&mut self, name: &[u8]) -> bool {
        let flag = FLAGS.iter().find(|(known, _)| known.as_bytes() == name);
        flag.inspect(|(_, place)| *place(self) = true).is_some()
    }

    /// The names of the flags that are set.
    pub fn names(mut self) -> Vec<&'static str> {
        FLAGS.iter().filter(|(_, place)| *place(&mut self)).map(|&(name, _)| name).collect()
    }

    /// What the first line of a script declares; `None` if it is not valid.
    pub fn of_source(source: &[u8]) -> Option<ScriptFlags> {
        parse(source).ok().map(|(flags, _)| flags)
    }
}

/// The flags, and the length of the line without its line feed, which stays so that line numbers are right.
/// An error is the text after `ERR `.
pub(super) fn parse(source: &[u8]) -> Result<(ScriptFlags, usize), String> {
    let mut flags = ScriptFlags::default();
    if !source.starts_with(b"#!") {
        return Ok((flags, 0));
    }
    let end = source.iter().position(|&c| c == b'\n').ok_or("Invalid script shebang")?;
    flags.declared = true;
    let words = cairn_proto::split_args(&source[..end]).unwrap_or_default();
    let Some((engine, options)) = words.split_first() else {
        return Err("Invalid engine in script shebang".into());
    };
    if engine != b"#!lua" {
        return Err(format!("Unexpected engine in script shebang: {}", String::from_utf8_lossy(engine)));
    }
    for option in options {
        let Some(names) = option.strip_prefix(b"flags=") else {
            return Err(format!("Unknown lua shebang option: {}", String::from_utf8_lossy(option)));
        };
        if names.is_empty() {
            continue;
        }
        for name in names.split(|&c| c == b',') {
            if !flags.set(name) {
                return Err(format!("Unexpected flag in script shebang: {}", String::from_utf8_lossy(name)));
            }
        }
    }
    Ok((flags, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_and_the_line_feed_is_kept() {
        let (flags, len) = parse(b"#!lua flags=no-writes,allow-stale\nreturn 1").unwrap();
        let expected =
            ScriptFlags { declared: true, no_writes: true, allow_stale: true, ..Default::default() };
        assert_eq!(flags, expected);
        assert_eq!(len, b"#!lua flags=no-writes,allow-stale".len());
    }

    #[test]
    fn a_script_without_a_shebang_declares_nothing() {
        assert_eq!(parse(b"return 1"), Ok((ScriptFlags::default(), 0)));
    }
}
