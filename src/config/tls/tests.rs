use std::{
    fs::{Permissions, set_permissions, write},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::super::{Config, Server};

struct Place(tempfile::TempDir);

impl Place {
    /// With a certificate and its key under that name, for the names given and for the years given.
    fn with(files: &[(&str, &[&str], [i32; 2])]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("session.key", &"11".repeat(32), 0o600);
        for (file, names, [from, until]) in files {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut params = CertificateParams::new(names).unwrap();
            params.not_before = date_time_ymd(*from, 1, 1);
            params.not_after = date_time_ymd(*until, 1, 1);
            let key = KeyPair::generate().unwrap();
            place.write(&format!("{file}.pem"), &params.self_signed(&key).unwrap().pem(), 0o644);
            place.write(&format!("{file}.key"), &key.serialize_pem(), 0o600);
        }
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path().join(name);
        write(&path, text).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn parse(&self, server: &str) -> Result<Config, Vec<String>> {
        let text = format!(
            "[bucket]\nname = \"data-universe\"\n[store]\nendpoint = \"http://127.0.0.1:9000\"\n\
             [chain]\nfile = \"registry.json\"\n[session]\nissue_with = \"a\"\nallow_no_receiver = true\n\
             keys = [{{ id = \"a\", file = \"session.key\" }}]\n[server]\n{server}"
        );
        Config::parse(&text, self.path()).map_err(|errors| errors.0.iter().map(ToString::to_string).collect())
    }

    fn server(&self, server: &str) -> Server {
        self.parse(server).unwrap_or_else(|errors| panic!("{errors:#?}")).server
    }

    #[track_caller]
    fn faults(&self, server: &str, expected: &[&str]) {
        let faults = self.parse(server).unwrap_err();
        let is_expected = |(fault, expected): (&String, &&str)| fault.contains(expected);
        let is_all = faults.len() == expected.len() && faults.iter().zip(expected).all(is_expected);
        assert!(is_all, "{server}\n{faults:#?}\n{expected:#?}");
    }
}

const YEARS: [i32; 2] = [2000, 2100];

fn one(file: &str) -> String {
    format!("tls.certificates = [{{ certificate = \"{file}.pem\", key = \"{file}.key\" }}]\n")
}

#[test]
fn an_empty_table_is_plain_http_and_a_certificate_allows_any_address() {
    let place = Place::with(&[("a", &["a.example"], YEARS), ("b", &["b.example"], YEARS)]);
    assert!(place.server("[server.tls]").tls.is_none());
    place
        .faults("listen = \"0.0.0.0:443\"\n[server.tls]", &["server.listen: 0.0.0.0:443 is beyond loopback"]);
    let server = place.server(&format!("listen = \"0.0.0.0:443\"\n{}", one("a")));
    let tls = server.tls.unwrap();
    assert_eq!(tls.handshake_seconds_max, 10);
    assert!(matches!(tls.client_certificates, super::ClientCertificates::None));
    assert_eq!(tls.certificates[0].certificate.names(), ["a.example"]);
    let two = "[[server.tls.certificates]]\ncertificate = \"b.pem\"\nkey = \"b.key\"\n\
               [[server.tls.certificates]]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n";
    let tls = place.server(two).tls.unwrap();
    assert_eq!(tls.certificates[0].certificate.names(), ["b.example"]);
    assert_eq!(tls.certificates.len(), 2);
    let mutual = format!("{}tls.client_ca_file = \"b.pem\"\ntls.client_certificates = ", one("a"));
    let optional = place.server(&format!("{mutual}\"optional\"")).tls.unwrap();
    assert!(matches!(optional.client_certificates, super::ClientCertificates::Optional(_)));
    let required = place.server(&format!("{mutual}\"required\"")).tls.unwrap();
    assert!(matches!(&required.client_certificates, super::ClientCertificates::Required(_)));
    assert!(!optional.asks_clients_as(&required) && required.asks_clients_as(&required.clone()));
}

#[test]
fn every_fault_names_its_setting_and_its_file() {
    let place = Place::with(&[("a", &["a.example"], YEARS), ("nameless", &[], YEARS)]);
    place.write("read.key", "", 0o644);
    place.write("others.pem", &std::fs::read_to_string(place.path().join("a.pem")).unwrap(), 0o666);
    let setting = "server.tls.certificates[0]";
    let pair = |certificate: &str, key: &str| {
        format!("tls.certificates = [{{ certificate = \"{certificate}\", key = \"{key}\" }}]\n")
    };
    for (server, fault) in [
        (pair("none.pem", "a.key"), format!("{setting}.certificate: ")),
        (pair("a.pem", "none.key"), format!("{setting}.key: ")),
        (pair("none.pem", "a.key"), "none.pem cannot be read: ".to_owned()),
        (pair("a.pem", "none.key"), "none.key cannot be read: ".to_owned()),
        (pair("a.pem", "read.key"), "read.key can be read by others; chmod 600 it".to_owned()),
        (pair("a.pem", "nameless.key"), "nameless.key is not the key of its certificate".to_owned()),
        (pair("a.key", "a.key"), "a.key holds no certificate".to_owned()),
        (pair("nameless.pem", "nameless.key"), "nameless.pem its first certificate names no host".to_owned()),
        (
            "tls.certificates = [{ key = \"a.key\" }]\n".to_owned(),
            format!("{setting}.certificate: is missing"),
        ),
        (
            "tls.certificates = [{ certificate = \"a.pem\" }]\n".to_owned(),
            format!("{setting}.key: is missing"),
        ),
        (
            "tls.certificates = [{ certificate = 1, key = \"a.key\" }]\n".to_owned(),
            format!("{setting}.certificate: 1"),
        ),
        ("tls.certificates = \"a.pem\"\n".to_owned(), "server.tls.certificates: ".to_owned()),
    ] {
        let faults = place.parse(&server).unwrap_err();
        assert!(faults.iter().any(|it| it.contains(&fault)), "{server}{faults:#?}\n{fault}");
    }
    place.faults("tls.certificates = []", &["server.tls.certificates: is missing; write [{ certificate = "]);
    place.faults("tls.handshake_seconds_max = 5", &["server.tls.certificates: is missing"]);
    let with = |rest: &str| format!("{}{rest}", one("a"));
    place.faults(&with("tls.handshake_seconds_max = 0"), &["server.tls.handshake_seconds_max: 0 is not"]);
    place.faults(&with("tls.versions = [\"1.3\"]"), &["server.tls.versions: no such setting"]);
    place.faults(
        &with("tls.client_certificates = \"maybe\""),
        &["server.tls.client_certificates: \"maybe\" is not \"none\" or \"optional\" or \"required\""],
    );
    place.faults(
        &with("tls.client_certificates = \"required\""),
        &["server.tls.client_ca_file: is missing; it must be a PEM file"],
    );
    let ca_file = |file: &str| {
        with(&format!("tls.client_certificates = \"required\"\ntls.client_ca_file = \"{file}\""))
    };
    place.faults(&ca_file("none.pem"), &["server.tls.client_ca_file: "]);
    place.faults(&ca_file("a.key"), &["holds no certificate"]);
    place.faults(
        &ca_file("others.pem"),
        &["others.pem can be written by its group or by others; chmod go-w it"],
    );
    place.faults(
        &with("tls.client_ca_file = \"a.pem\""),
        &["server.tls.client_ca_file: is for client_certificates = "],
    );
    // A faulty table is none that asks for plain HTTP.
    place.faults(
        &format!("listen = \"0.0.0.0:443\"\n{}", pair("none.pem", "a.key")),
        &["none.pem cannot be read"],
    );
    place.server(&format!("group_reads_secrets = true\n{}", one("a")));
}

#[test]
fn a_certificate_that_does_not_count_now_is_a_warning_and_does_not_replace_one_that_does() {
    let place = Place::with(&[
        ("old", &["a.example"], [2000, 2010]),
        ("new", &["a.example"], [2090, 2100]),
        ("a", &["a.example"], YEARS),
    ]);
    for (file, words) in
        [("old", Some("old.pem has expired")), ("new", Some("new.pem is not valid yet")), ("a", None)]
    {
        let config = place.parse(&one(file)).unwrap_or_else(|errors| panic!("{errors:#?}"));
        let warnings: Vec<String> = config.warnings().iter().map(ToString::to_string).collect();
        match words {
            None => assert!(warnings.is_empty(), "{warnings:?}"),
            Some(words) => assert!(
                warnings.len() == 1
                    && warnings[0].starts_with("server.tls.certificates[0].certificate: ")
                    && warnings[0].contains(words),
                "{warnings:?}"
            ),
        }
    }
    let tls = place.server(&one("a")).tls.unwrap();
    let (now, before) = (1_800_000_000, tls.stamps());
    assert_eq!(before, tls.stamps_now());
    let copy = |from: &str| {
        for kind in ["pem", "key"] {
            let text = std::fs::read_to_string(place.path().join(format!("{from}.{kind}"))).unwrap();
            place.write(&format!("a.{kind}"), &text, 0o600);
        }
    };
    for (from, words) in [("old", "has expired"), ("new", "is not valid yet")] {
        copy(from);
        assert_ne!(before, tls.stamps_now());
        let errors = tls.read_again(now).unwrap_err();
        assert!(errors.len() == 1 && errors[0].message.contains(words), "{errors:?}");
    }
    // What is served goes on being served, whatever it has become.
    let served = place.server(&one("old")).tls.unwrap();
    assert_eq!(served.read_again(now).unwrap().certificates.len(), 1);
    copy("new");
    assert_eq!(tls.read_again(4_000_000_000).unwrap().certificates[0].certificate.names(), ["a.example"]);
    std::fs::remove_file(place.path().join("a.key")).unwrap();
    let errors = tls.read_again(now).unwrap_err();
    assert!(errors[0].setting == "server.tls.certificates[0].key", "{errors:?}");
}

#[test]
fn networks_of_load_balancers_are_networks() {
    let place = Place::with(&[]);
    let server = place.server("proxy_protocol.networks = [\"10.0.0.0/8\", \"2001:db8::1\"]");
    for (peer, is_spoken) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("2001:db8::1", true),
        ("2001:db8::2", false),
        ("11.0.0.1", false),
    ] {
        assert_eq!(server.proxy_protocol.is_spoken_by(peer.parse().unwrap()), is_spoken, "{peer}");
    }
    place.faults(
        "proxy_protocol.networks = [\"all\"]",
        &["server.proxy_protocol.networks: \"all\" is not a network such as \"10.0.0.0/8\""],
    );
    place.faults("proxy_protocol.network = []", &["server.proxy_protocol.network: no such setting"]);
}

#[test]
fn certificates_by_acme_need_no_files_and_every_fault_is_told() {
    let place = Place::with(&[]);
    let acme = |rest: &str| {
        format!(
            "tls.acme.domains = [\"S3.Example.com\", \"a.example\"]\ntls.acme.cache_dir = \"acme\"\n\
             tls.acme.terms_agreed = true\n{rest}"
        )
    };
    let read = place.server(&acme("")).tls.unwrap();
    let acme_read = read.acme.unwrap();
    assert!(read.certificates.is_empty());
    assert_eq!(acme_read.domains, ["a.example", "s3.example.com"]);
    assert_eq!(acme_read.directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!(acme_read.cache_dir, place.path().join("acme"));
    place.faults(
        "tls.acme.contact = [\"ops\"]",
        &[
            "server.tls.acme.domains: is missing",
            "server.tls.acme.contact: \"ops\" is not",
            "server.tls.acme.cache_dir: is missing",
            "server.tls.acme.terms_agreed: must be true",
        ],
    );
    place.write("file", "", 0o600);
    place.write("empty.pem", "", 0o644);
    std::fs::create_dir(place.path().join("open")).unwrap();
    set_permissions(place.path().join("open"), Permissions::from_mode(0o755)).unwrap();
    for (dir, why) in [("file", "is not a directory"), ("open", "chmod 700 it")] {
        place.faults(
            &format!(
                "tls.acme.domains = [\"*.example.com\", \"localhost\"]\ntls.acme.cache_dir = {dir:?}\n\
                 tls.acme.directory = \"http://a.example/\"\ntls.acme.ca_file = \"empty.pem\"\n\
                 tls.acme.terms_agreed = true\ntls.acme.else = 1"
            ),
            &[
                "is a wildcard",
                "is not a host name",
                "begins with https://",
                "holds no certificate",
                why,
                "no such setting",
            ],
        );
    }
}
