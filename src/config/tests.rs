use std::os::unix::fs::PermissionsExt;

use super::*;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("session.key");
        std::fs::write(&key, KEY).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        // Those that the reference names.
        std::fs::create_dir(dir.path().join("certs")).unwrap();
        let made = rcgen::generate_simple_self_signed(["s3.example.com".to_owned()]).unwrap();
        let write = |name: &str, text: String| {
            let path = dir.path().join("certs").join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        write("s3.example.com.pem", made.cert.pem());
        write("clients-ca.pem", made.cert.pem());
        write("acme-ca.pem", made.cert.pem());
        write("s3.example.com.key", made.signing_key.serialize_pem());
        Self(dir)
    }

    fn parse(&self, text: &str) -> Result<Config, ConfigErrors> {
        Config::parse(text, self.0.path())
    }
}

fn lines(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(Fault::to_string).collect()
}

const LEAST: &str = r#"
bucket.name = "data-universe"
store.endpoint = "http://127.0.0.1:9000"
chain.file = "registry.json"
session.issue_with = "a"
session.allow_no_receiver = true
session.keys = [{ id = "a", file = "session.key" }]
"#;

#[test]
fn the_least_configuration_has_the_documented_defaults() {
    let place = Place::new();
    let config = place.parse(LEAST).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8014");
    let bodies = config.limits.bodies;
    assert_eq!((bodies.object_bytes_min, bodies.object_bytes_max), (1024, 5_368_709_120));
    assert_eq!((config.store.bucket.as_str(), config.store.region.as_str()), ("data-universe", "us-east-1"));
    assert_eq!(config.store.verifies, StoreChecks { sha256: false, content_md5: true, checksum: false });
    assert_eq!(config.store.storage_classes, ["STANDARD"]);
    assert_eq!(config.store.broken_uploads, BrokenUploads::Refused);
    assert_eq!(config.store.checksums, ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]);
    assert_eq!((config.store.outage_wait_seconds_max, config.store.outage_waiters_max), (5, 64));
    assert_eq!(config.store.outage_failures_max, 5);
    assert_eq!(config.policy.roots(), ["data/"]);
    let registry = place.0.path().join("registry.json");
    assert!(matches!(&config.chain.source, ChainSource::File(file) if *file == registry));
    assert_eq!(config.chain.validator, crate::chain::ValidatorRule::default());
    assert_eq!(config.chain.uploads_after_loss, UploadsAfterLoss::Finish);
    assert_eq!(config.session.ttl_seconds_max, 86_400);
}

/// The reference with every line that is commented out, and with the files of [`Place`].
fn shown_in(reference: &str) -> String {
    let lines = reference.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n");
    ["certs/session-2026-11.key", "certs/session-2026-10.key", "certs/admin.token"]
        .iter()
        .fold(lines.collect(), |text: String, file| text.replace(file, "session.key"))
}

#[test]
fn the_reference_is_a_configuration() {
    let place = Place::new();
    let reference = include_str!("../../proxy.toml");
    let config = place
        .parse(&reference.replace("certs/session-2026-11.key", "session.key"))
        .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.bucket.name, "data-universe");
    // Every line that is commented out is a setting as well, shown with its default.
    place.parse(&shown_in(reference)).unwrap_or_else(|errors| panic!("{errors}"));
}

#[test]
fn limits_have_the_documented_defaults_and_can_be_switched_off() {
    let place = Place::new();
    let limits = place.parse(LEAST).unwrap().limits;
    let reference = include_str!("../../proxy.toml");
    let shown = place.parse(&shown_in(reference)).unwrap().limits;
    assert_eq!((limits.principal, limits.address), (shown.principal, shown.address));
    assert_eq!((limits.miner, limits.validator), (shown.miner, shown.validator));
    assert_eq!(limits.server, shown.server);
    assert_eq!(limits.overrides, []);
    let other = shown.overrides[0];
    assert_eq!(other.miner.reads.per_second.unwrap().get(), 500);
    assert_eq!((other.miner.reads.burst, other.miner.lists), (limits.miner.reads.burst, limits.miner.lists));
    assert_eq!((other.validator.requests_per_day_max, other.validator.lists), (None, limits.validator.lists));

    let off = place.parse(&format!("{LEAST}limits.miner.reads_per_second = \"none\"")).unwrap().limits.miner;
    assert_eq!((off.reads.per_second, off.writes), (None, limits.miner.writes));
}

#[test]
fn a_wrong_limit_is_a_fault_that_names_it_and_says_what_is_right() {
    let place = Place::new();
    let text = r#"
        [limits]
        principal = "uid"
        [limits.address]
        connections_max = 0
        requests_per_second = "no"
        [limits.miner]
        reads_per_second = 0
        reads_burst = "none"
        requests_per_day_max = -1
        buffered_bytes_max = 1
        day = 5
        [limits.validator]
        lists_per_second = 1.5
        [[limits.overrides]]
        reads_burst = 5
        [[limits.overrides]]
        account = "alice"
        [[limits.overrides]]
        account = "5DAAnrj7VHTznn2AWBemMuyBwZWs6FNFjdyVXUeYum3PTXFy"
        [[limits.overrides]]
        account = "5DAAnrj7VHTznn2AWBemMuyBwZWs6FNFjdyVXUeYum3PTXFy"
    "#;
    let errors = lines(&place.parse(&format!("{LEAST}{text}")).unwrap_err().0);
    let expected = [
        "limits.principal: \"uid\" is not \"hotkey\" or \"coldkey\"",
        "limits.address.requests_per_second: \"no\" is not a whole number from 1 to 1000000, or \"none\" for \
         no limit",
        "limits.address.connections_max: 0 is not a whole number",
        "limits.miner.reads_per_second: 0 is not a whole number from 1 to 1000000, or \"none\" for no limit",
        "limits.miner.reads_burst: \"none\" is not a whole number from 1 to 1000000",
        "limits.miner.requests_per_day_max: -1 is not a whole number",
        "limits.miner.buffered_bytes_max: 1 is not a whole number from 4194304",
        "limits.miner.day: no such setting",
        "limits.validator.lists_per_second: 1.5 is not a whole number",
        "limits.overrides[0].account: is missing",
        "limits.overrides[1].account: \"alice\" is not an SS58 address",
        "limits.overrides[3].account: 5DAAnrj7VHTznn2AWBemMuyBwZWs6FNFjdyVXUeYum3PTXFy has an override",
    ];
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
}

#[test]
fn the_chain_itself_needs_a_netuid_and_has_defaults_for_the_rest() {
    let place = Place::new();
    let live =
        LEAST.replace("chain.file = \"registry.json\"", "chain.source = \"subtensor\"\nchain.netuid = 13");
    let ChainSource::Subtensor(chain) = place.parse(&live).unwrap().chain.source else { panic!() };
    assert_eq!((chain.netuid, chain.refresh_seconds, chain.quorum), (13, 24, 1));
    assert_eq!(chain.genesis, crate::chain::ExpectedGenesis::Hash(crate::chain::FINNEY_GENESIS));
    assert_eq!(chain.endpoints, [crate::chain::FINNEY_ENDPOINT.parse().unwrap()]);
    assert_eq!(chain.snapshot_file, Some(place.0.path().join("chain-snapshot.json")));
    let error = |text: &str| place.parse(text).unwrap_err().to_string();
    assert!(error(&live.replace("chain.netuid = 13", "")).starts_with("chain.netuid: is missing"));
    let twice = "chain.endpoints = [\"ws://a/1\", \"ws://a/2\"]\nchain.quorum = 2";
    assert!(error(&format!("{live}{twice}")).contains("2 endpoints cannot agree where 1 of different"));
}

#[test]
fn every_error_is_reported_at_once_with_its_setting() {
    let place = Place::new();
    let errors = place
        .parse(
            r#"
            colour = "red"
            [server]
            listen = "0.0.0.0:80"
            admin = 7
            hosts = ["a b"]
            cors_origins = ["*"]
            edge.networks = ["ten"]
            connections = 5
            [bucket]
            name = "docs"
            [store]
            endpoint = "ftp://store/path"
            trailers = "drop"
            broken_uploads = "mended"
            verifies = ["crc"]
            storage_classes = ["STANDARD", "DEEP ARCHIVE"]
            checksums = ["crc32"]
            credentials = { path = "x" }
            outage_wait_seconds_max = 6
            outage_waiters_max = -1
            outage_failures_max = "many"
            [session]
            issue_with = "b"
            keys = [{ id = "a", file = "missing.key" }, { id = "b", env = "SUBGATE_TEST_UNSET" }]
            [chain]
            source = "oracle"
            endpoints = ["ftp://node"]
            genesis = "0x12"
            refresh_seconds = 0
            quorum = 2
            collapse_share_max = 1.5
            validator_stake_min = -1
            validator_deny = ["5abc"]
            [policy]
            folders = ["data/{nobody}/", "data/{coldkey}"]
            variables = { source = [], hotkey = ["x"], job = { pattern = "(" } }
            roles = { king = {} }
            folder_markers = "keep"
            [limits]
            object_bytes_min = -1
            object_bytes_max = 0
            small_files = { names = ["_SUCCESS", "*.crc", "a/b"], object_bytes_min = 2000, name = "x" }
            "#,
        )
        .unwrap_err();
    let errors = lines(&errors.0);
    for says in [
        "colour: no such setting; known here: server, bucket, store",
        "server.listen: 0.0.0.0:80 is beyond loopback without TLS",
        "server.admin: 7 is not an address",
        "server.hosts: \"a b\" is not a host name",
        "server.cors_origins: \"*\" is not an exact origin",
        "server.edge.networks: \"ten\" is not a network",
        "server.connections: no such setting; known here: listen",
        "bucket.name: \"docs\" is the name of an endpoint",
        "store.endpoint: \"ftp://store/path\" is not a URL",
        "store.trailers: \"drop\" is not \"forward\" or \"translate\"",
        "store.broken_uploads: \"mended\" is not \"refused\" or \"kept\"",
        "store.verifies: \"crc\" is not in",
        "store.storage_classes: \"DEEP ARCHIVE\" is not a storage class",
        "store.checksums: \"crc32\" is not in a list of CRC32, CRC32C",
        "store.credentials: is not \"environment\"",
        "store.outage_wait_seconds_max: 6 is not a whole number",
        "store.outage_waiters_max: -1 is not a whole number",
        "store.outage_failures_max: \"many\" is not a whole number",
        "session.keys[0].file: ",
        "session.keys[1].env: the environment variable SUBGATE_TEST_UNSET is not set",
        "session.receiver: is missing",
        "chain.source: \"oracle\" is not \"file\" or \"subtensor\"",
        "chain.file: is missing",
        "chain.endpoints: \"ftp://node\" is not a URL",
        "chain.genesis: \"0x12\" is not \"finney\"",
        "chain.refresh_seconds: 0 is not a whole number",
        "chain.quorum: 2 endpoints cannot agree",
        "chain.collapse_share_max: 1.5 is not a share",
        "chain.validator_stake_min: -1 is not a stake",
        "chain.validator_deny: \"5abc\" is not",
        "policy.folders: \"data/{nobody}/\": {nobody} is not among policy.variables",
        "policy.folders: \"data/{coldkey}\" must end",
        "policy.variables.source: ",
        "policy.variables.hotkey: is bound to the caller",
        "policy.variables.job: ",
        "policy.roles: ",
        "limits.object_bytes_min: -1 is not a whole number",
        "limits.object_bytes_max: 0 is not a whole number",
        "policy.folder_markers: \"keep\" is not \"answer\" or \"store\"",
        "limits.small_files.names: \"*.crc\" is not in a list of file names",
        "limits.small_files.names: \"a/b\" is not in a list of file names",
        "limits.small_files.object_bytes_min: 2000 is above limits.object_bytes_min",
        "limits.small_files.name: no such setting (did you mean \"names\"?); known here: names, object_",
    ] {
        assert!(errors.iter().any(|error| error.starts_with(says)), "{says}\n---\n{}", errors.join("\n"));
    }
}

#[test]
fn small_files_are_none_unless_they_are_named() {
    let place = Place::new();
    let limits = |more: &str| place.parse(&format!("{LEAST}\n{more}")).unwrap().limits.bodies;
    let plain = limits("");
    assert_eq!(plain.small_files, SmallFiles::default());
    assert_eq!((plain.object_bytes_min_of("a/_SUCCESS"), plain.object_bytes_min_of_all()), (1024, 1024));
    let named = limits("limits.small_files = { names = [\"_SUCCESS\", \"_delta_log/*\"] }");
    let sizes = ["a/_SUCCESS", "a/_delta_log/0.json", "a/f"].map(|key| named.object_bytes_min_of(key));
    assert_eq!((sizes, named.object_bytes_min_of_all()), ([0, 0, 1024], 0));
}

#[test]
fn p51_a_key_that_others_can_read_is_an_error_and_never_shown() {
    let place = Place::new();
    let key = place.0.path().join("session.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let errors = place.parse(LEAST).unwrap_err().to_string();
    assert!(errors.contains("chmod 600"), "{errors}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&key, "abcdef").unwrap();
    let errors = place.parse(LEAST).unwrap_err().to_string();
    assert!(errors.contains("64 or more hex") && !errors.contains("abcdef"), "{errors}");
    std::fs::write(&key, KEY).unwrap();
    assert!(!format!("{:?}", place.parse(LEAST).unwrap()).contains(KEY));
}

#[test]
fn p51_a_key_that_its_group_reads_needs_a_setting() {
    let place = Place::new();
    let key = place.0.path().join("session.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o440)).unwrap();
    let errors = place.parse(LEAST).unwrap_err().to_string();
    assert!(errors.contains("server.group_reads_secrets"), "{errors}");
    place.parse(&format!("server.group_reads_secrets = true\n{LEAST}")).unwrap();
}

#[test]
fn p65_what_others_can_write_decides_nothing() {
    let place = Place::new();
    let write = |name: &str, text: &str, mode| {
        let path = place.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    write("registry.json", "{}", 0o664);
    let errors = place.parse(LEAST).unwrap_err().to_string();
    assert_eq!(errors, "chain.file: can be written by its group or by others; chmod go-w it");
    write("registry.json", "{}", 0o644);
    let config = write("proxy.toml", LEAST, 0o646);
    let errors = Config::load(&Source::file(&config)).unwrap_err().to_string();
    assert_eq!(
        errors,
        format!("{}: can be written by its group or by others; chmod go-w it", config.display())
    );
    Config::load(&Source::file(&write("proxy.toml", LEAST, 0o644))).unwrap();
}

/// What the reference's least says, with those variables over it.
fn with_environment(place: &Place, text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let file = place.0.path().join("proxy.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Config::load(&Source::new(Some(file), Environment::of(variables)))
}

#[test]
fn the_environment_is_read_over_the_file_with_the_types_that_settings_have() {
    let place = Place::new();
    let config = with_environment(
        &place,
        LEAST,
        &[
            ("SUBGATE_SERVER__LISTEN", "127.0.0.1:9"),
            ("SUBGATE_SERVER__HOSTS", "[\"s3.example.com\"]"),
            ("SUBGATE_SERVER__EDGE__REWRITES_HOST", "true"),
            // Names that look like a number and like a date.
            ("SUBGATE_BUCKET__NAME", "20261101"),
            ("SUBGATE_STORE__BUCKET", "2026-11-01"),
            ("SUBGATE_STORE__CREDENTIALS", "environment"),
            ("SUBGATE_STORE__ENDPOINT", "\"http://127.0.0.1:1\""),
            ("SUBGATE_STORE__CA_FILE", "certs/s3.example.com.pem"),
            ("SUBGATE_LIMITS__MINER__READS_PER_SECOND", "none"),
            ("SUBGATE_LIMITS__MINER__READS_BURST", "7"),
            ("SUBGATE_POLICY__VARIABLES__SOURCE", "[\"x\"]"),
        ],
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:9");
    assert_eq!(
        (config.server.hosts.as_slice(), config.server.edge.rewrites_host),
        (&["s3.example.com".to_owned()][..], true)
    );
    assert_eq!((config.bucket.name.as_str(), config.store.bucket.as_str()), ("20261101", "2026-11-01"));
    assert_eq!(config.store.credentials, CredentialSource::Environment);
    assert_eq!(config.store.endpoint, "http://127.0.0.1:1");
    // The file's folder is where the paths of both start.
    assert_eq!(config.store.ca_file, Some(place.0.path().join("certs/s3.example.com.pem")));
    assert_eq!(config.limits.miner.reads.per_second, None);
    assert_eq!(config.session.issue_with, "a");
}

#[test]
fn a_fault_of_the_environment_names_its_variable_and_what_was_meant() {
    let place = Place::new();
    let faults = with_environment(
        &place,
        LEAST,
        &[
            ("SUBGATE_SERVER_LISTEN", "127.0.0.1:9"),
            ("SUBGATE_SERVER__LISTEN", "9"),
            ("SUBGATE_SERVER__EGDE__NETWORKS", "[]"),
            ("SUBGATE_STROE__ENDPOINT", "http://127.0.0.1:9"),
            ("SUBGATE_STORE__ENDPIONT", "http://127.0.0.1:9"),
            ("SUBGATE_SESSION__KEYS", "[{ id = \"a\", file = \"nowhere.key\" }]"),
        ],
    )
    .unwrap_err()
    .0;
    let shown = lines(&faults);
    let beginnings = [
        "SUBGATE_SERVER_LISTEN: no such setting (did you mean SUBGATE_SERVER__LISTEN?)",
        "SUBGATE_SERVER__LISTEN: server.listen: \"9\" is not an address",
        "SUBGATE_SERVER__EGDE__NETWORKS: server.egde: no such setting (did you mean \"edge\"?)",
        "SUBGATE_STORE__ENDPIONT: store.endpiont: no such setting (did you mean \"endpoint\"?)",
        "SUBGATE_SESSION__KEYS: session.keys[0].file: ",
        "SUBGATE_STROE__ENDPOINT: stroe: no such setting (did you mean \"store\"?)",
    ];
    assert_eq!(shown.len(), beginnings.len(), "{shown:#?}");
    for (line, beginning) in shown.iter().zip(beginnings) {
        assert!(line.contains(beginning), "{line:?} is not {beginning:?}");
    }
    // In the file, the same setting has its line.
    let faults = with_environment(&place, &format!("{LEAST}store.region = 5"), &[]).unwrap_err().0;
    assert_eq!((faults[0].line, &faults[0].variable), (Some(8), &None));
}

#[test]
fn the_environment_alone_may_say_it_all() {
    let place = Place::new();
    let key = place.0.path().join("session.key");
    let keys = format!("[{{ id = \"a\", file = {:?} }}]", key.to_str().unwrap());
    let all = [
        ("SUBGATE_BUCKET__NAME", "data-universe"),
        ("SUBGATE_STORE__ENDPOINT", "http://127.0.0.1:9000"),
        ("SUBGATE_CHAIN__FILE", "registry.json"),
        ("SUBGATE_SESSION__ISSUE_WITH", "a"),
        ("SUBGATE_SESSION__ALLOW_NO_RECEIVER", "true"),
        ("SUBGATE_SESSION__KEYS", keys.as_str()),
    ];
    let load = |variables: &[(&str, &str)]| {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Config::load(&Source::new(None, Environment::of(variables)))
    };
    assert_eq!(load(&all).unwrap().bucket.name, "data-universe");
    let missing = load(&all[1..]).unwrap_err().to_string();
    assert!(missing.starts_with("bucket.name: is missing; it must be "), "{missing}");
}

/// What a running server keeps until a restart is read once more, and means the same.
#[test]
fn settings_of_the_environment_are_kept_by_a_reload_as_they_are() {
    let place = Place::new();
    let variables = [("SUBGATE_BUCKET__NAME", "20261101"), ("SUBGATE_SERVER__LISTEN", "127.0.0.1:9")];
    let running = with_environment(&place, LEAST, &variables).unwrap();
    let later = format!("{LEAST}server.connections_max = 9\nserver.hosts = [\"a\"]");
    let later = with_environment(&place, &later, &variables).unwrap();
    let changes = Changes::between(&running, &later);
    assert_eq!(changes.at_once(), ["server.hosts: not set -> [\"a\"]"]);
    assert_eq!(changes.at_the_next_start(), ["server.connections_max: not set -> 9"]);
    let kept = later.keeping_what_needs_a_restart(&running).unwrap();
    assert_eq!((kept.bucket.name.as_str(), kept.server.connections_max), ("20261101", None));
}

#[test]
fn p12_a_key_that_goes_out_of_service_signs_nothing_new() {
    let place = Place::new();
    let retired = LEAST
        .replace("file = \"session.key\" }", "file = \"session.key\", accept_until = 2026-12-01T00:00:00Z }");
    assert!(
        place
            .parse(&retired)
            .unwrap_err()
            .to_string()
            .starts_with("session.issue_with: \"a\" has an accept_until")
    );
}

#[test]
fn templates_that_give_one_path_two_owners_are_errors() {
    let place = Place::new();
    let text = format!("{LEAST}\npolicy.folders = [\"data/{{hotkey}}/\", \"data/{{coldkey}}/\"]");
    assert!(place.parse(&text).unwrap_err().to_string().contains("two owners"));
}

#[test]
fn syntax_errors_name_their_line() {
    let errors = Place::new().parse("[server]\nlisten = ").unwrap_err().0;
    let [Fault { line: Some(2), message, .. }] = errors.as_slice() else { panic!("{errors:?}") };
    assert!(message.starts_with("not TOML"), "{message}");
}

#[test]
fn p15_only_configured_networks_are_trusted() {
    let edge = Edge { networks: vec!["10.0.0.0/8".parse().unwrap()], ..Edge::default() };
    assert!(edge.trusts("10.1.2.3".parse().unwrap()) && edge.trusts("::ffff:10.1.2.3".parse().unwrap()));
    assert!(
        !edge.trusts("11.0.0.1".parse().unwrap()) && !Edge::default().trusts("127.0.0.1".parse().unwrap())
    );
}

#[test]
fn an_open_variable_above_the_identity_is_a_warning_and_no_fault() {
    let place = Place::new();
    assert_eq!(place.parse(LEAST).unwrap().warnings(), Vec::<Fault>::new());
    let open = "policy.folders = [\"data/{job}/{coldkey}/\", \"own/{hotkey}/{job}/\"]\n\
                policy.variables.job = { pattern = \"[a-z]+\" }\n";
    let warnings = place.parse(&format!("{LEAST}{open}")).unwrap().warnings();
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    for words in ["policy.folders", "data/{job}/{coldkey}/", "put {job} below"] {
        assert!(warning.to_string().contains(words), "{warning}");
    }
}

#[test]
fn a_bucket_has_a_name_that_s3_takes_and_at_an_old_store_one_that_it_took() {
    let place = Place::new();
    let of = |bucket: &str| place.parse(&LEAST.replace("data-universe", bucket));
    for name in ["abc", "data-universe", "a.b-c", "1a2", &"x".repeat(63)] {
        of(name).unwrap();
    }
    for name in [
        "Data_Universe",
        "data_universe",
        "ab",
        "-abc",
        "abc-",
        ".abc",
        "a..b",
        "192.168.5.4",
        "xn--abc",
        "abc-s3alias",
        "abc--x-s3",
        "a/b",
        "ä-bucket",
        &"x".repeat(64),
    ] {
        let errors = lines(&of(name).unwrap_err().0);
        let [error] = errors.as_slice() else { panic!("{errors:?}") };
        assert!(error.starts_with(&format!("bucket.name: {name:?} is not a bucket name of 3")), "{error}");
    }
    let old = format!("{LEAST}store.bucket = \"Data_Universe\"\n");
    let warnings = lines(&place.parse(&old).unwrap().warnings());
    assert!(warnings[0].starts_with("store.bucket: \"Data_Universe\" is no bucket name by today's rules"));
    let by_host = format!("{old}store.addressing = \"virtual-host\"\n");
    assert!(place.parse(&by_host).unwrap_err().to_string().contains("store.addressing = \"path\""));
    let wrong = format!("{LEAST}store.bucket = \"a/b\"\n");
    assert_eq!(place.parse(&wrong).unwrap_err().to_string(), "store.bucket: \"a/b\" is not a bucket name");
}
