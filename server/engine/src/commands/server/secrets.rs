//! Which arguments are passwords: MONITOR and the slow log show something else in their place.

use crate::args::Args;
use crate::command::Entry;

/// What is shown for a password.
const REDACTED: &[u8] = b"(redacted)";

/// Directives that are passwords.
const PASSWORDS: [&str; 8] = [
    "requirepass",
    "cluster-secret",
    "masteruser",
    "primaryuser",
    "masterauth",
    "primaryauth",
    "tls-key-file-pass",
    "tls-client-key-file-pass",
];

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
        "acl|setuser" | "acl|getuser" | "acl|deluser" => shown[2..].fill(REDACTED),
        "migrate" => {
            let mut at = 6;
            while at < shown.len() && !args.is(at, "keys") {
                let secrets = match () {
                    () if args.is(at, "auth") => 1,
                    () if args.is(at, "auth2") => 2,
                    () => 0,
                };
                let end = shown.len().min(at + 1 + secrets);
                shown[at + 1..end].fill(REDACTED);
                at = end;
            }
        }
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
            ("config set tls-key-file-pass x", "config set tls-key-file-pass (redacted)"),
            ("acl setuser u >p", "acl setuser (redacted) (redacted)"),
            ("acl getuser u", "acl getuser (redacted)"),
            ("acl deluser u v", "acl deluser (redacted) (redacted)"),
            ("migrate h 1 k 0 9 auth p copy", "migrate h 1 k 0 9 auth (redacted) copy"),
            ("migrate h 1 k 0 9 copy auth2 u p", "migrate h 1 k 0 9 copy auth2 (redacted) (redacted)"),
            ("migrate h 1 k 0 9 auth", "migrate h 1 k 0 9 auth"),
            ("migrate h 1 k 0 9 keys auth k", "migrate h 1 k 0 9 keys auth k"),
            ("get k", "get k"),
        ] {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let args = Args::new(&args);
            let command = table().resolve(args).unwrap();
            assert_eq!(String::from_utf8(shown(command, args).join(&b' ')).unwrap(), expected);
        }
    }
}
