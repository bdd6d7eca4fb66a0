//! The store's credentials, read anew while the server runs: instance, container, web identity, a process of
//! a profile, a file. What they come from is a server of this test's.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use subgate::time::UnixTime;
use tempfile::TempDir;

use crate::harness::{
    client::{Answer, Call, Connection},
    metadata::{Metadata, credentials_json, secret_of},
    program::Program,
    server::{ALICE, KEY_ONE, Setup, registry},
    store::Store,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Shorter than the time before their end at which credentials are renewed.
const SHORT: Duration = Duration::from_secs(200);
const LONG: Duration = Duration::from_secs(86_400);

/// A server with a store that knows `AKONE` and `AKTWO`.
struct Place {
    store: Store,
    program: Program,
    dir: TempDir,
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

impl Place {
    async fn new(dir: TempDir, credentials: &str, environment: &[(&str, &str)]) -> Self {
        let store = Store::start().await;
        let (one, two) = (secret_of("AKONE"), secret_of("AKTWO"));
        store.accept_keys(&[("AKONE", &one), ("AKTWO", &two)]);
        write(&dir.path().join("one.key"), KEY_ONE);
        write(&dir.path().join("registry.json"), &registry(&[&ALICE], &[]));
        let text = Setup::default().text(&format!("http://{}", store.address));
        let text = text.replace("credentials = { file = \"store.json\" }", credentials);
        let config = dir.path().join("proxy.toml");
        write(&config, &text);
        let home = dir.path().to_str().unwrap().to_owned();
        let always = [("HOME", home.as_str()), ("AWS_REGION", "eu-store-1"), ("PATH", "/usr/bin:/bin")];
        let environment = [&always, environment].concat();
        let program = tokio::task::block_in_place(|| Program::serve(&config, &environment));
        Self { store, program, dir }
    }

    async fn head(&self) -> Answer {
        let call = Call::new("GET", &format!("/data-universe/{}", ALICE.file("a.parquet")));
        let signed = call.sign(&ALICE.hotkey(), &self.program.address.to_string());
        let mut connection = Connection::connect(self.program.address).await;
        connection.send_call(&signed).await;
        connection.answer("GET").await
    }

    /// Asks until a request goes to the store with that key; gives the last answer.
    async fn until_signed_with(&self, access_key: &str) -> Answer {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.head().await;
            if self.store.keys_seen().last().is_some_and(|seen| seen == access_key) {
                return answer;
            }
            assert!(tokio::time::Instant::now() < end, "{:?}\n{:?}", answer.text(), self.program.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn logged(&self, words: &str) -> usize {
        self.program.log().iter().filter(|line| line.contains(words)).count()
    }
}

/// The keys change before the old ones end; when the source fails, the ones that count go on.
async fn renewed(place: &Place, metadata: &Metadata) {
    assert_eq!(place.until_signed_with("AKONE").await.status, 404);
    metadata.give("AKTWO");
    assert_eq!(place.until_signed_with("AKTWO").await.status, 404);
    assert!(place.store.keys_seen().iter().any(|key| key == "AKONE"));
    metadata.fail();
    for _ in 0..20 {
        assert_eq!(place.head().await.status, 404);
    }
    let asked = metadata.seen().len();
    assert!(asked < 40, "{asked} requests to the source: {:?}", metadata.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_role_is_renewed_before_it_ends_by_imds_v2_alone() {
    let metadata = Metadata::start("AKONE", SHORT).await;
    let endpoint = format!("http://{}", metadata.address);
    let environment = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.as_str())];
    let place = Place::new(tempfile::tempdir().unwrap(), "credentials = \"aws\"", &environment).await;
    renewed(&place, &metadata).await;
    assert!(metadata.seen().contains(&"PUT /latest/api/token".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_asked_with_the_token_of_its_file() {
    let metadata = Metadata::start("AK{token}", SHORT).await;
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    write(&token, "ONE");
    // The secret follows the key, so that the container's is that of the key which the store knows.
    metadata.give("AKONE");
    let uri = format!("http://{}/container", metadata.address);
    let environment = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap()),
    ];
    let place = Place::new(dir, "credentials = \"aws\"", &environment).await;
    renewed(&place, &metadata).await;
    assert!(metadata.seen().iter().all(|line| line == "GET /container"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_identity_is_exchanged_anew_with_the_token_that_its_file_holds_then() {
    let metadata = Metadata::start("AKONE", SHORT).await;
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    write(&token, "first-token");
    let endpoint = format!("http://{}", metadata.address);
    let environment = [
        ("AWS_ENDPOINT_URL_STS", endpoint.as_str()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/subgate"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let place = Place::new(dir, "credentials = \"aws\"", &environment).await;
    assert_eq!(place.until_signed_with("AKONE").await.status, 404);
    write(&place.dir.path().join("token"), "second-token");
    renewed(&place, &metadata).await;
    let bodies = metadata.bodies();
    assert!(bodies[0].contains("WebIdentityToken=first-token"), "{bodies:?}");
    assert!(bodies.last().unwrap().contains("WebIdentityToken=second-token"), "{bodies:?}");
    // No token, and no secret, is in the log.
    assert_eq!((place.logged("second-token"), place.logged("secret/of")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_of_a_profile_is_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let give = |dir: &Path, access_key: &str| {
        let expiration = UnixTime::from(SystemTime::now() + SHORT).to_string();
        write(&dir.join("printed.json"), &credentials_json(access_key, &expiration));
    };
    give(dir.path(), "AKONE");
    let config = dir.path().join("aws-config");
    let printed = dir.path().join("printed.json");
    write(&config, &format!("[profile bucket]\ncredential_process = cat {}\n", printed.display()));
    let environment = [
        ("AWS_CONFIG_FILE", config.to_str().unwrap()),
        ("AWS_PROFILE", "bucket"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let place = Place::new(dir, "credentials = \"aws\"", &environment).await;
    place.until_signed_with("AKONE").await;
    give(place.dir.path(), "AKTWO");
    assert_eq!(place.until_signed_with("AKTWO").await.status, 404);
    std::fs::remove_file(place.dir.path().join("printed.json")).unwrap();
    for _ in 0..10 {
        assert_eq!(place.head().await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_the_store_no_longer_knows_are_renewed_early_and_not_at_each_refusal() {
    let metadata = Metadata::start("AKONE", LONG).await;
    let endpoint = format!("http://{}", metadata.address);
    let environment = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.as_str())];
    let place = Place::new(tempfile::tempdir().unwrap(), "credentials = \"aws\"", &environment).await;
    place.until_signed_with("AKONE").await;
    let secret = secret_of("AKTWO");
    place.store.accept_keys(&[("AKTWO", &secret)]);
    let asked = metadata.seen().len();
    // The client is told of an outage, never that it is refused.
    for _ in 0..50 {
        place.head().await.refused(503, "ServiceUnavailable");
    }
    assert!(metadata.seen().len() - asked < 20, "{:?}", metadata.seen());
    metadata.give("AKTWO");
    assert_eq!(place.until_signed_with("AKTWO").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_counts_at_the_next_request_and_a_faulty_one_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let text = |access_key: &str| {
        format!(r#"{{"access_key": "{access_key}", "secret_key": "{}"}}"#, secret_of(access_key))
    };
    write(&dir.path().join("store.json"), &text("AKONE"));
    let place = Place::new(dir, "credentials = { file = \"store.json\" }", &[]).await;
    let path = place.dir.path().join("store.json");
    place.until_signed_with("AKONE").await;
    // Half written.
    write(&path, &text("AKTWO")[..30]);
    let end = tokio::time::Instant::now() + PATIENCE;
    while place.logged("could not be read anew") == 0 {
        assert!(tokio::time::Instant::now() < end);
        assert_eq!(place.head().await.status, 404);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(place.head().await.status, 404);
    assert_eq!(place.store.keys_seen().last().unwrap(), "AKONE");
    assert_eq!(place.logged("could not be read anew"), 1);
    write(&path, &text("AKTWO"));
    assert_eq!(place.until_signed_with("AKTWO").await.status, 404);
    assert_eq!(place.logged("secret/of"), 0);
}
