//! Random changes of users. In a cluster they are part of the replicated state.

use super::{one_in, pick, words};
use crate::rng::Rng;

const RULES: &[&str] = &[
    "on",
    "off",
    ">p",
    ">other",
    "<p",
    "nopass",
    "resetpass",
    "reset",
    "~a*",
    "%R~b*",
    "%W~c",
    "allkeys",
    "resetkeys",
    "&news.*",
    "allchannels",
    "resetchannels",
    "+get",
    "-get",
    "+@read",
    "-@write",
    "+config|get",
    "-config|set",
    "allcommands",
    "nocommands",
    "(+get ~x)",
    "(+@write ~y &z)",
    "clearselectors",
    "skip-sanitize-payload",
    "sanitize-payload",
    "+nosuch",
    "nonsense",
];

/// One command. Nobody is logged in as these users, and the default one keeps its permissions: what others send is no less
/// random for it.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    match rng.below(10) {
        0 => words(rng, pick(rng, &["ACL DELUSER u0", "ACL DELUSER u1 u2 none", "ACL DELUSER default"])),
        1 => words(rng, pick(rng, &["ACL SAVE", "ACL LOAD", "ACL LIST", "ACL WHOAMI", "ACL GETUSER u0"])),
        2 => words(
            rng,
            pick(
                rng,
                &[
                    "ACL SETUSER default (+get",
                    "ACL SETUSER default (+get ~x)",
                    "ACL SETUSER default clearselectors",
                ],
            ),
        ),
        _ => {
            let mut command = words(rng, &format!("ACL SETUSER u{}", rng.below(4)));
            if one_in(rng, 30) {
                command[2].push(b' ');
            }
            command.extend((0..rng.below(4)).map(|_| pick(rng, RULES).into()));
            command
        }
    }
}
