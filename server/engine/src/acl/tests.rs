//! Rules, checks and text of users.

use super::selector::{Denial, RuleError};
use super::text;
use super::user::User;
use crate::args::Args;
use crate::command::table;

fn user(rules: &str) -> User {
    let rules: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
    text::changed(None, b"u", &rules, false).map_err(|error| String::from_utf8(error).unwrap()).unwrap()
}

fn refusal(rules: &[&str]) -> String {
    let rules: Vec<&[u8]> = rules.iter().map(|rule| rule.as_bytes()).collect();
    String::from_utf8(text::changed(None, b"u", &rules, false).unwrap_err()).unwrap()
}

fn check(user: &User, line: &str) -> Result<(), Denial> {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let args = Args::new(&words);
    user.check(table().resolve(args).unwrap(), args)
}

fn commands(rules: &str) -> String {
    String::from_utf8(user(rules).root.describe_commands()).unwrap()
}

#[test]
fn the_newest_rule_about_a_command_replaces_older_ones() {
    assert_eq!(commands("+@all"), "+@all");
    assert_eq!(commands("+GET +get -get"), "-@all -get");
    assert_eq!(commands("+config|get +config|set +config"), "-@all +config");
    assert_eq!(commands("+config -config|set"), "-@all +config -config|set");
    assert_eq!(commands("+@all -@Dangerous +info -@dangerous"), "+@all +info -@dangerous");
    assert_eq!(commands("+get -@all +set"), "-@all +set");
    assert_eq!(commands("+select|0 +SELECT|1"), "-@all +select|0 +select|1");
    assert_eq!(commands("+select|0 +select"), "-@all +select");
}

#[test]
fn commands_subcommands_categories_and_first_arguments() {
    let denied = Err(Denial::Command);
    let some = user("+@read +config|get +select|0 -strlen allkeys");
    assert_eq!(check(&some, "GET k"), Ok(()));
    assert_eq!(check(&some, "SET k v"), denied);
    assert_eq!(check(&some, "STRLEN k"), denied);
    assert_eq!(check(&some, "CONFIG GET x"), Ok(()));
    assert_eq!(check(&some, "CONFIG SET x y"), denied);
    assert_eq!(check(&some, "SELECT 0"), Ok(()));
    assert_eq!(check(&some, "SELECT 1"), denied);
    assert_eq!(check(&some, "AUTH x"), Ok(()), "nobody can be kept from that");
    let container = user("+config -config|set");
    assert_eq!(check(&container, "CONFIG RESETSTAT"), Ok(()));
    assert_eq!(check(&container, "CONFIG SET x y"), denied);
    assert!(user("+@all ~* &*").allows_all());
    assert!(
        !user("+@all -get +get ~* &*").allows_all(),
        "commands taken away are looked at, even if they came back"
    );
}

#[test]
fn keys_are_read_and_written_by_permission() {
    let user = user("+@all %R~r* %W~w* %RW~rw* %R~two %W~two");
    assert_eq!(check(&user, "GET r1"), Ok(()));
    assert_eq!(check(&user, "SET r1 v"), Err(Denial::Key(1)));
    assert_eq!(check(&user, "SET w1 v"), Ok(()));
    assert_eq!(check(&user, "SET w1 v GET"), Err(Denial::Key(1)), "an option makes it a read");
    assert_eq!(check(&user, "SET rw v GET"), Ok(()));
    assert_eq!(check(&user, "SET two v GET"), Ok(()));
    assert_eq!(check(&user, "COPY r1 w1"), Ok(()));
    assert_eq!(check(&user, "COPY r1 r2"), Err(Denial::Key(2)));
    assert_eq!(check(&user, "EXISTS w1"), Ok(()), "neither reads the value nor writes it");
    assert_eq!(check(&user, "EXISTS x"), Err(Denial::Key(1)));
    assert_eq!(check(&user, "MSET w1 a r1 b"), Err(Denial::Key(3)));
    assert_eq!(check(&user, "EVAL s 1 r1"), Err(Denial::Key(3)));
    assert_eq!(user.root.describe_keys(), b"%R~r* %W~w* ~rw* ~two");
}

#[test]
fn channels_match_and_patterns_have_to_be_the_same() {
    let user = user("+@all ~* &news.* &a");
    assert_eq!(check(&user, "PUBLISH news.1 m"), Ok(()));
    assert_eq!(check(&user, "SPUBLISH b m"), Err(Denial::Channel(1)));
    assert_eq!(check(&user, "SUBSCRIBE a b"), Err(Denial::Channel(2)));
    assert_eq!(check(&user, "PSUBSCRIBE news.*"), Ok(()));
    assert_eq!(check(&user, "PSUBSCRIBE news.1*"), Err(Denial::Channel(1)));
    assert_eq!(check(&user, "UNSUBSCRIBE b"), Ok(()));
}

#[test]
fn one_selector_has_to_allow_all_of_it() {
    let user = user("-@all (+@write ~w*) (+@read ~r* ~w*)");
    assert_eq!(check(&user, "SET w v"), Ok(()));
    assert_eq!(check(&user, "GET w"), Ok(()));
    assert_eq!(
        check(&user, "SET r v"),
        Err(Denial::Key(1)),
        "that it is the key says more than that it is the command"
    );
    assert_eq!(check(&user, "PING"), Err(Denial::Command));
    assert!(super::user::User::default_user().allows_all());
}

#[test]
fn reading_all_keys_goes_with_the_command() {
    let get = table().find(b"get").unwrap();
    let args: &[&[u8]] = &[b"get", b"k"];
    let may = |rules: &str| user(rules).check_reading_all(get, Args::new(args));
    assert!(may("+get ~*"));
    assert!(may("+get %R~*"));
    assert!(!may("+get ~k"));
    assert!(!may("+get ~k (+set ~*)"));
    assert!(may("+set ~k (+get ~*)"));
}

#[test]
fn what_is_wrong_with_a_rule() {
    for (rule, error) in [
        ("nonsense", RuleError::Syntax),
        ("+nosuch", RuleError::UnknownCommand),
        ("-nosuch", RuleError::UnknownCommand),
        ("+@nosuch", RuleError::UnknownCommand),
        ("+config|nosuch", RuleError::UnknownCommand),
        ("-select|0", RuleError::UnknownCommand),
        ("+config|get|x", RuleError::FirstArgOfSubcommand),
        ("+select|", RuleError::Syntax),
        ("%X~a", RuleError::Syntax),
        ("%RR~a", RuleError::Syntax),
        ("%~a", RuleError::Syntax),
        ("%RW", RuleError::Syntax),
        ("~a b", RuleError::Syntax),
        ("&a b", RuleError::Syntax),
        ("#abc", RuleError::BadHash),
        ("<nosuch", RuleError::NoSuchPassword),
    ] {
        assert_eq!(refusal(&[rule]), format!("Error in ACL SETUSER modifier '{rule}': {error}"));
    }
    assert!(refusal(&["~*", "~a"]).contains("Adding a pattern after the * pattern (or the 'allkeys' flag)"));
    assert!(
        refusal(&["&*", "&a"]).contains("Adding a pattern after the * pattern (or the 'allchannels' flag)")
    );
    assert_eq!(refusal(&["(+get", "~a"]), "Unmatched parenthesis in acl selector starting at '(+get'.");
    assert_eq!(refusal(&["(+get on)"]), "Error in ACL SETUSER modifier '(+get on)': Syntax error");
}

#[test]
fn a_user_is_what_its_rules_say() {
    for rules in [
        "on nopass sanitize-payload ~* &* +@all",
        "off sanitize-payload resetchannels -@all",
        "on skip-sanitize-payload #2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae %R~a ~b resetchannels \
         &c -@all +@read -get +select|0 (~x resetchannels -@all +get) (%W~y &* +@all -@dangerous)",
    ] {
        let first = user(rules);
        assert_eq!(first.line(), [b"user u ", rules.as_bytes()].concat());
        let again = text::decode(text::encode(&first).as_bytes()).unwrap();
        assert_eq!(again.line(), first.line());
        assert_eq!((&again.root, &again.selectors), (&first.root, &first.selectors));
    }
    let odd = text::changed(None, b"a\"\xff", &[b"~\xfe\"x".as_slice(), b">"], false).unwrap();
    assert_eq!(text::decode(text::encode(&odd).as_bytes()).unwrap().line(), odd.line());
}

#[test]
fn a_reset_user_is_a_new_user() {
    let mut user = user("on >p ~* &* +@all (+get)");
    user.apply(b"reset", false).unwrap();
    assert_eq!(user.line(), b"user u off sanitize-payload resetchannels -@all");
    assert!(!user.allows_all());
    user.apply(b"reset", true).unwrap();
    assert_eq!(user.line(), b"user u off sanitize-payload &* -@all");
}

#[test]
fn a_file_is_taken_as_a_whole_or_not_at_all() {
    let users = text::parse_file("f", b"\nuser a on\r\nuser b (+get ~x) -@all\n", false).unwrap();
    assert_eq!(users.iter().map(|user| &*user.name).collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(users[1].selectors.len(), 1);
    let end = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
    for (text, errors) in [
        ("# x", "f:1 should start with user keyword followed by the username. "),
        ("user a on\nuser a on", "WARNING: Duplicate user 'a' found on line 2. "),
        (
            "user a +nosuch +nor",
            "f:1: Error in applying operation '+nosuch': Unknown command or category name in ACL. \
                                 f:1: Error in applying operation '+nor': Unknown command or category name in ACL. ",
        ),
        (
            "user a #x what",
            "f:1: The password hash must be exactly 64 characters and contain only lowercase \
                            hexadecimal characters. ",
        ),
        ("\nuser a (+get", "f:2: Unmatched parenthesis in selector definition."),
    ] {
        assert_eq!(text::parse_file("f", text.as_bytes(), false).unwrap_err(), format!("{errors}{end}"));
    }
}
