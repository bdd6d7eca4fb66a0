//! Settings out of the environment, which are read over the file: `SUBGATE_STORE__ENDPOINT` is
//! `store.endpoint`. Two underscores stand for the dot, so no other variable of this program is one of them.
//!
//! A value is TOML, as it would stand in the file; what is not TOML, or is not of the type that the setting
//! has, is a plain text.
//!
//! Invariants: a variable that is meant as a setting and is none is a fault; values are never shown as a
//! whole environment.

use std::{collections::BTreeMap, ffi::OsString, fmt};

use toml::{Table, Value};

use super::{
    effect,
    fault::{Fault, Lines},
};

/// What the names of all variables of this program begin with.
const PREFIX: &str = "SUBGATE_";

/// The settings in an environment, by the names of their variables.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        Self::of(std::env::vars_os())
    }

    /// Those among `variables` that are settings, or were meant to be.
    pub fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let named = variables.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self(named.filter(|(name, _)| is_meant_as_setting(name)).collect())
    }

    /// Whether it has no setting.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of their variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Puts them into `table`, in place of what stands there, and notes in `lines` where they come from;
    /// gives what is wrong with their names.
    pub(super) fn lay_over(&self, table: &mut Table, lines: &mut Lines) -> Vec<Fault> {
        let mut faults = Vec::new();
        // The shorter name comes first: a table, and then what is in it.
        for (name, text) in &self.0 {
            match read(name, text) {
                Ok((setting, text)) => {
                    lines.set_by(&setting, name, text);
                    put(table, &setting, text.parse().unwrap_or_else(|_| Value::String(text.to_owned())));
                }
                Err(what) => faults.push(lines.fault("", format_args!("{name}: {what}"))),
            }
        }
        faults
    }
}

/// Whether a variable is a setting, or one that somebody has misspelt so that it would count for nothing.
fn is_meant_as_setting(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.contains("__") || setting_with_dots(rest).is_some())
}

/// The setting whose dots somebody has written as one underscore each.
fn setting_with_dots(rest: &str) -> Option<&'static str> {
    let rest = rest.to_ascii_lowercase();
    effect::names().find(|setting| setting.contains('.') && setting.replace('.', "_") == rest)
}

/// The variable of a setting.
fn variable(setting: &str) -> String {
    format!("{PREFIX}{}", setting.replace('.', "__").to_ascii_uppercase())
}

/// The setting of a variable and its text, or what is wrong with it.
fn read<'v>(name: &str, text: &'v OsString) -> Result<(String, &'v str), String> {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    if let (false, Some(setting)) = (rest.contains("__"), setting_with_dots(rest)) {
        return Err(format!("no such setting (did you mean {}?)", variable(setting)));
    }
    if !rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_') {
        return Err("the name of a setting has capital letters, digits and underscores alone here".to_owned());
    }
    let parts: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
    if parts.len() < 2 || parts.iter().any(String::is_empty) {
        return Err(format!("not the name of a setting such as {}", variable("store.endpoint")));
    }
    let text = text.to_str().ok_or("its value is not UTF-8 text")?;
    Ok((parts.join("."), text))
}

/// Sets what has that name in a table. What is in the way and no table gives way to one.
fn put(table: &mut Table, setting: &str, value: Value) {
    match setting.split_once('.') {
        None => {
            table.insert(setting.to_owned(), value);
        }
        Some((section, rest)) => {
            let mut inner = match table.remove(section) {
                Some(Value::Table(inner)) => inner,
                _ => Table::new(),
            };
            put(&mut inner, rest, value);
            table.insert(section.to_owned(), Value::Table(inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::of(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    fn laid_over(text: &str, variables: &[(&str, &str)]) -> Table {
        let mut table: Table = text.parse().unwrap();
        let faults = environment(variables).lay_over(&mut table, &mut Lines::default());
        assert_eq!(faults, []);
        table
    }

    #[test]
    fn a_variable_with_two_underscores_is_a_setting_and_the_others_are_not() {
        let others = [
            ("SUBGATE_LOG", "info"),
            ("SUBGATE_LOG_FORMAT", "json"),
            ("SUBGATE_CONFIG", "proxy.toml"),
            ("SUBGATE_ENDPOINT", "https://s3.example.com"),
            ("SUBGATE_RECEIVER", "5F"),
            ("SUBGATE_CACHE_DIR", "/tmp"),
            ("SUBGATE_SESSION_KEY", "0f"),
            // What Kubernetes adds for a service of that name.
            ("SUBGATE_SERVICE_HOST", "10.0.0.1"),
            ("SUBGATE_PORT_8014_TCP_ADDR", "10.0.0.1"),
            ("subgate_server__listen", "x"),
            ("MY_SUBGATE_SERVER__LISTEN", "x"),
        ];
        assert!(environment(&others).is_empty());
        let names = ["SUBGATE_LOG__REFUSALS_PER_SECOND_MAX", "SUBGATE_SERVER__LISTEN"];
        assert_eq!(Vec::from_iter(environment(&names.map(|name| (name, "1"))).names()), names);
    }

    #[test]
    fn values_are_toml_or_plain_texts_and_stand_in_place_of_the_files() {
        let file = "server.listen = \"a\"\nserver.hosts = [\"x\"]\nstore.credentials = \"aws\"\n\
                    session.keys = [{ id = \"a\" }, { id = \"b\" }]\n";
        let table = laid_over(
            file,
            &[
                ("SUBGATE_SERVER__LISTEN", "127.0.0.1:0"),
                ("SUBGATE_SERVER__EDGE", "{ rewrites_host = false, networks = [] }"),
                ("SUBGATE_SERVER__EDGE__REWRITES_HOST", "true"),
                ("SUBGATE_STORE__CREDENTIALS__FILE", "store.json"),
                ("SUBGATE_SESSION__KEYS", "[{ id = \"c\" }]"),
                ("SUBGATE_CHAIN__NETUID", "13"),
                ("SUBGATE_BUCKET__NAME", "[not TOML"),
                ("SUBGATE_BUCKET__REGION", "1\nother = 2"),
            ],
        );
        let expected = "server = { listen = \"127.0.0.1:0\", hosts = [\"x\"] }\n\
                        server.edge = { rewrites_host = true, networks = [] }\n\
                        store.credentials.file = \"store.json\"\nsession.keys = [{ id = \"c\" }]\n\
                        chain.netuid = 13\nbucket.name = \"[not TOML\"\n\
                        bucket.region = \"1\\nother = 2\"\n"
            .replace("hosts = [\"x\"] }\nserver.edge = {", "hosts = [\"x\"], edge = {")
            .replace("networks = [] }\n", "networks = [] } }\n");
        assert_eq!(table, expected.parse().unwrap());
    }

    #[test]
    fn a_name_that_is_none_is_a_fault_and_sets_nothing() {
        for (name, told) in [
            ("SUBGATE_SERVER_LISTEN", "no such setting (did you mean SUBGATE_SERVER__LISTEN?)"),
            ("SUBGATE_STORE_CA_FILE", "no such setting (did you mean SUBGATE_STORE__CA_FILE?)"),
            ("SUBGATE_SERVER__", "not the name of a setting such as SUBGATE_STORE__ENDPOINT"),
            ("SUBGATE___LISTEN", "not the name of a setting such as SUBGATE_STORE__ENDPOINT"),
            (
                "SUBGATE_Server__Listen",
                "the name of a setting has capital letters, digits and underscores alone here",
            ),
        ] {
            let mut table = Table::new();
            let faults = environment(&[(name, "secret")]).lay_over(&mut table, &mut Lines::default());
            let shown: Vec<String> = faults.iter().map(Fault::to_string).collect();
            assert_eq!(shown, [format!("{name}: {told}")]);
            assert!(table.is_empty());
        }
        let bytes = OsString::from_vec(vec![b'a', 0xff]);
        let broken = Environment::of([("SUBGATE_BUCKET__NAME".into(), bytes)]);
        let faults = broken.lay_over(&mut Table::new(), &mut Lines::default());
        assert_eq!(faults[0].message, "SUBGATE_BUCKET__NAME: its value is not UTF-8 text");
    }

    #[test]
    fn p51_an_environment_shows_no_value() {
        let environment = environment(&[("SUBGATE_CHAIN__ENDPOINTS", "[\"wss://node.example/apikey\"]")]);
        let mut lines = Lines::default();
        environment.lay_over(&mut Table::new(), &mut lines);
        let shown = format!("{environment:?} {lines:?}");
        assert!(shown.contains("SUBGATE_CHAIN__ENDPOINTS") && !shown.contains("apikey"), "{shown}");
    }
}
