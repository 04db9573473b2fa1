//! Whole-system tests of Cairn: everything that needs more than one crate, or a real Redis to compare with.
//!
//! - [`golden`]: the language of `commands/**/*.gold`, conversations with a server whose expected replies are
//!   recorded from a real redis-server, and the runner that checks them against any [`golden::Target`].
//! - [`differential`]: random commands for `cairn-server` and `redis-server`, whose replies must not differ.
//! - [`nodes`]: servers in the process of the test, of which one leads and others forward to it.
//! - [`sim`]: whole nodes in one thread, with a clock, a network and disks that a seed decides on.
//! - [`server`]: starts a `cairn-server` or a `redis-server` of its own on a free port and stops it again.
//! - [`tls`]: certificates, and a client that speaks TLS.
//!
//! The tests themselves are in `tests/`, the scripts in `commands/`, the use cases with redis-py in `use_cases/`;
//! `README.md` describes the script language.
//!
//! ```
//! use cairn_tests::golden::{args, Reply};
//!
//! assert_eq!(args::split(r#"SET k "a\x00b""#, &Default::default()).unwrap().len(), 3);
//! let (reply, used) = Reply::decode(b"*2\r\n:1\r\n$1\r\na\r\n").unwrap().unwrap();
//! assert_eq!((reply.to_string().as_str(), used), (r#"[1, "a"]"#, 15));
//! ```

pub mod cluster;
pub mod differential;
pub mod golden;
pub mod nodes;
pub mod server;
pub mod sim;
pub mod tls;
pub mod workload;
