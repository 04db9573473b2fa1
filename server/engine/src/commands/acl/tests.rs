use cairn_proto::Resp;

use crate::config::Config;
use crate::testing::TestEngine;

const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

fn in_cluster() -> TestEngine {
    TestEngine::with_config(Config { cluster_enabled: true, ..Config::default() }, 1)
}

/// A client who is logged in as a new user with these rules.
fn client_as(server: &mut TestEngine, admin: usize, rules: &str) -> usize {
    assert_eq!(server.run(admin, &format!("ACL SETUSER u reset on >p {rules}")), "+OK\r\n");
    let client = server.connect(Resp::V2);
    assert_eq!(server.run(client, "AUTH u p"), "+OK\r\n");
    client
}

fn is_open(server: &mut TestEngine, slot: usize) -> bool {
    server.engine.client(slot).is_some_and(|client| !client.state.closing())
}

#[test]
fn refusals_name_the_command_and_no_more() {
    let mut server = TestEngine::new();
    let admin = server.connect(Resp::V2);
    let client = client_as(&mut server, admin, "+get +publish +multi +exec +eval ~a* &c");
    assert_eq!(server.run(client, "GET a"), "$-1\r\n");
    assert_eq!(server.run(client, "GET b"), "-NOPERM No permissions to access a key\r\n");
    assert_eq!(
        server.run(client, "CONFIG GET x"),
        "-NOPERM User u has no permissions to run the 'config|get' command\r\n"
    );
    assert_eq!(server.run(client, "PUBLISH d m"), "-NOPERM No permissions to access a channel\r\n");
    assert_eq!(
        server.run(client, "ACL WHOAMI"),
        "-NOPERM User u has no permissions to run the 'acl|whoami' command\r\n"
    );
    server.run(client, "MULTI");
    assert_eq!(server.run(client, "GET b"), "-NOPERM No permissions to access a key\r\n");
    assert_eq!(
        server.run(client, "EXEC"),
        "-EXECABORT Transaction discarded because of previous errors.\r\n"
    );
    let script: &[&[u8]] = &[b"EVAL", b"return redis.call('set', 'a', 1)", b"0"];
    let refused = String::from_utf8(server.send(client, script)).unwrap();
    assert!(
        refused.starts_with(
            "-ERR ACL failure in script: User u has no permissions to run the 'set' command script: "
        ),
        "{refused}"
    );
    let script: &[&[u8]] = &[
        b"EVAL",
        b"return {redis.acl_check_cmd('get', 'a') and 1, redis.acl_check_cmd('get', 'b') and 1 or 0}",
        b"0",
    ];
    assert_eq!(server.send(client, script), b"*2\r\n:1\r\n:0\r\n");
    let info = server.run(admin, "INFO stats");
    for field in ["auth:0", "cmd:3", "key:2", "channel:1"] {
        assert!(info.contains(&format!("acl_access_denied_{field}\r\n")), "{info}");
    }
}

#[test]
fn what_was_queued_is_checked_again() {
    let mut server = TestEngine::new();
    let admin = server.connect(Resp::V2);
    let client = client_as(&mut server, admin, "+@all ~* &*");
    for line in ["MULTI", "SET k v", "GET k", "PUBLISH c m"] {
        server.run(client, line);
    }
    server.run(admin, "ACL SETUSER u -set resetkeys resetchannels");
    let told = server.run(client, "EXEC");
    let changed = "-NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
                   command is no longer allowed for the following reason: ";
    assert_eq!(
        told,
        format!(
            "*3\r\n{changed}no permission to execute the command or subcommand\r\n{changed}no permission to touch the \
             specified keys\r\n{changed}no permission to access one of the channels used as arguments to the command\r\n"
        )
    );
}

#[test]
fn a_blocked_command_is_checked_again() {
    let mut server = TestEngine::new();
    let admin = server.connect(Resp::V2);
    let client = client_as(&mut server, admin, "+@all ~*");
    assert_eq!(server.run(client, "BLPOP q 0"), "");
    server.run(admin, "ACL SETUSER u resetkeys");
    server.run(admin, "RPUSH q a");
    assert_eq!(server.output(client), b"-NOPERM No permissions to access a key\r\n");
    assert_eq!(server.run(admin, "LLEN q"), ":1\r\n");
}

#[test]
fn who_is_deleted_is_disconnected() {
    let mut server = TestEngine::new();
    let admin = server.connect(Resp::V2);
    let client = client_as(&mut server, admin, "+@all ~* &*");
    let (own, waits) = (server.connect(Resp::V2), server.connect(Resp::V2));
    server.run(own, "AUTH u p");
    server.run(waits, "AUTH u p");
    assert_eq!(server.run(waits, "BLPOP q 0"), "");
    assert_eq!(server.run(own, "ACL DELUSER u nosuch u"), ":1\r\n");
    assert!(!is_open(&mut server, client) && !is_open(&mut server, own) && !is_open(&mut server, waits));
    assert!(is_open(&mut server, admin));
    assert_eq!(server.engine.shared.blocking.clients, 0);
    assert_eq!(server.run(admin, "ACL DELUSER default"), "-ERR The 'default' user cannot be removed\r\n");
}

#[test]
fn who_listens_to_what_is_revoked_is_disconnected() {
    let mut server = TestEngine::new();
    let admin = server.connect(Resp::V2);
    let client = client_as(&mut server, admin, "+@all &a &b &p*");
    let other = server.connect(Resp::V2);
    server.run(other, "AUTH u p");
    server.run(client, "SUBSCRIBE a");
    server.run(other, "PSUBSCRIBE p*");
    server.run(admin, "ACL SETUSER u &c");
    assert!(is_open(&mut server, client));
    server.run(admin, "ACL SETUSER u resetchannels &a");
    assert!(is_open(&mut server, client));
    assert!(!is_open(&mut server, other));
    server.run(admin, "ACL SETUSER u allchannels");
    server.run(admin, "ACL SETUSER u resetchannels");
    assert!(!is_open(&mut server, client));
}

#[test]
fn log_ins_are_checked_written_down_and_slowed() {
    let mut server = TestEngine::new();
    let admin = server.connect(Resp::V2);
    server.run(admin, "ACL SETUSER u on >one >two +@all");
    server.run(admin, "ACL SETUSER off >p");
    let client = server.connect(Resp::V2);
    for line in ["AUTH u one", "AUTH u two", "HELLO 2 AUTH u one"] {
        assert!(!server.run(client, line).starts_with('-'), "{line}");
    }
    assert_eq!(server.run(client, "ACL WHOAMI"), "$1\r\nu\r\n");
    for line in ["AUTH u three", "AUTH nobody one", "AUTH off p", "HELLO 3 AUTH u x"] {
        assert_eq!(server.run(client, line), WRONG, "{line}");
    }
    assert_eq!(server.run(client, "ACL WHOAMI"), "$1\r\nu\r\n", "they are still who they were");
    assert!(server.host.log.borrow()[0].starts_with("failed log-in as user 'u' from 127.0.0.1:"));
    for _ in 4..10 {
        assert_eq!(server.run(client, "AUTH u x"), WRONG);
    }
    assert_eq!(server.run(client, "AUTH u x"), "", "the eleventh in a row waits");
    assert!(!server.engine.accepts_commands(client));
    server.advance(50);
    assert_eq!(server.output(client), WRONG.as_bytes());
    assert!(server.engine.accepts_commands(client));
    assert!(server.run(admin, "INFO stats").contains("acl_access_denied_auth:11\r\n"));
    server.advance(60_000);
    assert_eq!(server.run(client, "AUTH u x"), WRONG, "that was long ago");
    assert_eq!(server.run(client, "AUTH u one"), "+OK\r\n");
}

#[test]
fn refusals_that_are_alike_are_one_entry_of_the_log() {
    let mut server = TestEngine::new();
    let admin = server.connect(Resp::V2);
    let client = client_as(&mut server, admin, "+get ~a");
    for line in ["GET x", "GET x", "SET a b", "GET x"] {
        server.run(client, line);
    }
    let log = server.run(admin, "ACL LOG");
    assert!(log.starts_with("*2\r\n*20\r\n$5\r\ncount\r\n:3\r\n$6\r\nreason\r\n$3\r\nkey\r\n"), "{log}");
    assert!(log.contains("$6\r\nobject\r\n$3\r\nset\r\n$8\r\nusername\r\n$1\r\nu\r\n"), "{log}");
    server.advance(60_001);
    server.run(client, "GET x");
    assert!(server.run(admin, "ACL LOG").starts_with("*3\r\n"));
    assert!(server.run(admin, "ACL LOG 1").starts_with("*1\r\n"));
    assert_eq!(server.run(admin, "ACL LOG -1"), "*0\r\n");
    server.run(admin, "CONFIG SET acllog-max-len 1");
    server.run(client, "GET y");
    assert!(server.run(admin, "ACL LOG").starts_with("*1\r\n"));
    assert_eq!(server.run(admin, "ACL LOG RESET"), "+OK\r\n");
    assert_eq!(server.run(admin, "ACL LOG"), "*0\r\n");
}

#[test]
fn the_file_is_saved_and_loaded() {
    let mut server = TestEngine::with_config(Config { aclfile: "f".to_owned(), ..Config::default() }, 1);
    let admin = server.connect(Resp::V2);
    assert!(server.run(admin, "ACL LOAD").starts_with("-ERR Error loading ACLs, opening file 'f': "));
    let client = client_as(&mut server, admin, "+get");
    assert_eq!(server.run(admin, "ACL SAVE"), "+OK\r\n");
    let saved = server.host.acl_file.clone().unwrap();
    assert!(
        saved.starts_with(
            b"user default on nopass sanitize-payload ~* &* +@all\nuser u on sanitize-payload #"
        )
    );
    server.run(admin, "ACL SETUSER u +set");
    server.run(admin, "ACL SETUSER v on");
    assert_eq!(server.run(admin, "ACL LOAD"), "+OK\r\n");
    assert_eq!(server.run(admin, "ACL USERS"), "*2\r\n$7\r\ndefault\r\n$1\r\nu\r\n");
    assert!(is_open(&mut server, client), "the user is still there");
    server.host.acl_file = Some(b"user v on\nnonsense".to_vec());
    assert!(server.run(admin, "ACL LOAD").starts_with("-ERR f:2 should start with user keyword"));
    server.host.acl_file = Some(b"user v on".to_vec());
    assert_eq!(server.run(admin, "ACL LOAD"), "+OK\r\n");
    assert!(!is_open(&mut server, client));
    assert_eq!(server.run(admin, "ACL WHOAMI"), "$7\r\ndefault\r\n");
    assert!(
        server.effects_of(admin, "ACL LOAD").is_empty(),
        "a single server's users are no part of its state"
    );
}

#[test]
fn requirepass_is_the_default_users_password() {
    let mut server = TestEngine::new();
    let admin = server.connect(Resp::V2);
    server.run(admin, "CONFIG SET requirepass secret");
    let client = server.connect(Resp::V2);
    assert_eq!(server.run(client, "PING"), "-NOAUTH Authentication required.\r\n");
    assert_eq!(server.run(client, "AUTH secret"), "+OK\r\n");
    server.run(admin, "ACL SETUSER default >more");
    assert_eq!(server.run(client, "AUTH more"), "+OK\r\n");
    server.run(admin, "CONFIG SET requirepass other");
    assert_eq!(server.run(client, "AUTH more"), WRONG);
    server.run(admin, "ACL SETUSER default off");
    let late = server.connect(Resp::V2);
    assert_eq!(server.run(late, "AUTH other"), WRONG);
    assert_eq!(server.run(client, "PING"), "+PONG\r\n", "who is in stays in");
}

#[test]
fn in_a_cluster_requirepass_is_that_of_all_nodes() {
    let mut server = in_cluster();
    let admin = server.connect(Resp::V2);
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let first = server.effects_of(admin, "CONFIG SET requirepass secret");
    assert!(first.len() == 1 && first[0].starts_with("ACL LOAD \"default\" "), "{first:?}");
    assert!(first[0].contains(hash) && !first[0].contains("secret"), "{first:?}");
    server.run(admin, "ACL SETUSER default >more");
    // The configuration says so already, the user does not.
    let again = server.effects_of(admin, "CONFIG SET requirepass secret");
    assert_eq!(again, [format!("ACL SETUSER default reset on sanitize-payload #{hash} ~* &* +@all")]);
    let mut replica = server.replica();
    let other = replica.connect(Resp::V2);
    assert_eq!(replica.run(other, "PING"), "-NOAUTH Authentication required.\r\n");
    assert_eq!(replica.run(other, "AUTH more"), WRONG);
    assert_eq!(replica.run(other, "AUTH secret"), "+OK\r\n");
    replica.engine.shared.replica = true;
    assert_eq!(
        replica.run(other, "CONFIG SET requirepass x"),
        "-READONLY You can't write against a read only replica.\r\n"
    );
    assert_eq!(replica.run(other, "CONFIG SET hz 20"), "+OK\r\n");
    let mixed = server.run(admin, "CONFIG SET hz 20 requirepass x");
    assert!(mixed.contains("(possibly related to argument 'requirepass') - in a cluster"), "{mixed}");
    let late = server.connect(Resp::V2);
    assert_eq!(server.run(late, "AUTH secret"), "+OK\r\n");
    assert_eq!(server.engine.shared.acl.snapshot(), replica.engine.shared.acl.snapshot());
}

#[test]
fn in_a_cluster_users_are_replicated() {
    let mut server = in_cluster();
    let admin = server.connect(Resp::V2);
    let first = server.effects_of(admin, "ACL SETUSER u on >p ~a* +@read (+set ~b)");
    assert_eq!(first.len(), 1);
    assert!(first[0].starts_with("ACL LOAD \"default\" \"on\" "), "{first:?}");
    let second = server.effects_of(admin, "ACL SETUSER u -get");
    let hash = "148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940";
    assert_eq!(
        second,
        [format!(
            "ACL SETUSER u reset on sanitize-payload #{hash} ~a* resetchannels -@all +@read -get (~b resetchannels -@all \
             +set)"
        )]
    );
    server.run(admin, "ACL SETUSER gone on");
    assert_eq!(server.effects_of(admin, "ACL DELUSER gone nosuch"), ["ACL DELUSER gone"]);
    assert!(server.effects_of(admin, "ACL DELUSER nosuch").is_empty());
    let mut replica = server.replica();
    let other = replica.connect(Resp::V2);
    assert_eq!(replica.run(other, "ACL LIST"), server.run(admin, "ACL LIST"));
    assert_eq!(replica.run(other, "AUTH u p"), "+OK\r\n");
    assert_eq!(replica.run(other, "STRLEN a"), ":0\r\n");

    let snapshot = server.engine.snapshot();
    let users = snapshot.users.as_deref();
    let mut fresh = in_cluster();
    fresh.engine.restore_users(users).unwrap();
    let third = fresh.connect(Resp::V2);
    assert_eq!(fresh.run(third, "ACL LIST"), server.run(admin, "ACL LIST"));
    assert_eq!(fresh.effects_of(third, "ACL SETUSER v on").len(), 1);
}

#[test]
fn a_state_that_is_built_again_has_the_users_that_it_had() {
    let mut server = in_cluster();
    let admin = server.connect(Resp::V2);
    server.run(admin, "ACL SETUSER lost on nopass +@all");
    let client = server.connect(Resp::V2);
    server.run(client, "AUTH lost x");
    let copy = server.engine.empty_copy();
    assert_eq!(copy.shared.acl.users().len(), 1, "nothing of it was committed");
    server.engine.adopt_users(&copy);
    assert!(!is_open(&mut server, client));
    assert!(is_open(&mut server, admin));
    assert!(
        server.effects_of(admin, "ACL SETUSER u on")[0].starts_with("ACL LOAD "),
        "all of them once more"
    );
}

#[test]
fn a_follower_changes_no_users() {
    let mut server = in_cluster();
    let admin = server.connect(Resp::V2);
    server.engine.follow();
    for line in ["ACL SETUSER u on", "ACL SETUSER default off"] {
        assert!(server.run(admin, line).starts_with("-READONLY "), "{line}");
    }
    assert_eq!(server.run(admin, "ACL USERS"), "*1\r\n$7\r\ndefault\r\n");
}

#[test]
fn a_user_who_is_not_known_yet_may_do_nothing() {
    let mut server = in_cluster();
    let (admin, client) = (server.connect(Resp::V2), server.connect(Resp::V2));
    let login = server.engine.login(b"u");
    let state = &mut server.engine.client(client).unwrap().state;
    (state.login, state.authenticated) = (login, true);
    assert!(server.run(client, "PING").starts_with("-NOPERM User u has no permissions"));
    server.run(admin, "ACL SETUSER u on +ping");
    assert_eq!(server.run(client, "PING"), "+PONG\r\n");
}

#[test]
fn sort_by_other_keys_takes_the_right_to_read_them_all() {
    let mut server = TestEngine::new();
    let admin = server.connect(Resp::V2);
    let client = client_as(&mut server, admin, "+sort ~l");
    assert_eq!(server.run(client, "SORT l BY nosort"), "*0\r\n");
    for option in ["BY", "GET"] {
        let refused = format!("-ERR {option} option of SORT denied due to insufficient ACL permissions.\r\n");
        assert_eq!(server.run(client, &format!("SORT l {option} w_*")), refused);
    }
    assert_eq!(server.run(client, "SORT l STORE m"), "-NOPERM No permissions to access a key\r\n");
    server.run(admin, "ACL SETUSER u %R~*");
    assert_eq!(server.run(client, "SORT l BY w_* GET x_*"), "*0\r\n");
}
