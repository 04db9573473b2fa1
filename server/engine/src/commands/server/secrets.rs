//! Which arguments are passwords: MONITOR and the slow log show something else in their place.

use crate::args::Args;
use crate::command::Entry;

/// What is shown for a password.
const REDACTED: &[u8] = b"(redacted)";

/// Directives that are passwords.
const PASSWORDS: [&str; 4] = ["requirepass", "cluster-secret", "masterauth", "primaryauth"];

/// The arguments as others may see them.
pub(super) fn shown<'a>(command: &Entry, args: Args<'a>) -> Vec<&'a [u8]> {
    let mut shown = args.as_slice().to_vec();
    match command.full_name.as_str() {
        "auth" if args.len() <= 3 => shown[1..].fill(REDACTED),
        "hello" => {
            let mut at = 2;
            while at < shown.len() {
                if args.is(at, "auth") && at + 2 < shown.len() {
                    shown[at + 1..at + 3].fill(REDACTED);
                    at += 2;
                }
                at += 1;
            }
        }
        "acl|setuser" => shown[2..].fill(REDACTED),
        "config|set" => {
            for at in (2..shown.len().saturating_sub(1)).step_by(2) {
                if PASSWORDS.iter().any(|name| args.is(at, name)) {
                    shown[at + 1] = REDACTED;
                }
            }
        }
        _ => {}
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table;

    #[test]
    fn passwords_are_hidden_and_nothing_else() {
        for (line, expected) in [
            ("auth secret", "auth (redacted)"),
            ("auth user secret", "auth (redacted) (redacted)"),
            ("hello 3 setname n auth u p", "hello 3 setname n auth (redacted) (redacted)"),
            ("hello 3 auth u", "hello 3 auth u"),
            ("config set port 1 requirepass x", "config set port 1 requirepass (redacted)"),
            ("config set masterauth x", "config set masterauth (redacted)"),
            ("config set cluster-secret x", "config set cluster-secret (redacted)"),
            ("acl setuser u >p", "acl setuser (redacted) (redacted)"),
            ("get k", "get k"),
        ] {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let args = Args::new(&args);
            let command = table().resolve(args).unwrap();
            assert_eq!(String::from_utf8(shown(command, args).join(&b' ')).unwrap(), expected);
        }
    }
}
