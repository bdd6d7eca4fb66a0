//! `subgate store probe` before stores of every manner: what it finds, what it advises, what it leaves
//! behind.

use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    server::{ALICE, KEY_ONE, Setup, registry},
    store::{self, Reply, Store},
};

struct Place {
    store: Store,
    dir: TempDir,
}

impl Place {
    async fn new(more: &str) -> Self {
        Self::with(more, &[]).await
    }

    /// With other texts in the configuration.
    async fn with(more: &str, changes: &[(&str, &str)]) -> Self {
        let store = Store::start().await;
        let dir = tempfile::tempdir().unwrap();
        let setup = Setup { store: more.to_owned(), ..Setup::default() };
        let mut text = setup.text(&format!("http://{}", store.address));
        for (old, new) in changes {
            assert!(text.contains(old), "{old}");
            text = text.replace(old, new);
        }
        let place = Self { store, dir };
        place.write("one.key", KEY_ONE);
        place.write("registry.json", &registry(&[&ALICE], &[]));
        place.write("proxy.toml", &text);
        place.credentials(store::ACCESS_KEY, store::SECRET_KEY);
        place
    }

    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn credentials(&self, access_key: &str, secret_key: &str) {
        let text = format!(r#"{{"access_key": "{access_key}", "secret_key": "{secret_key}"}}"#);
        self.write("store.json", &text);
    }

    fn command(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_subgate"));
        command.args(["store", "probe", "--json", "--config"]).arg(self.dir.path().join("proxy.toml"));
        command.env_clear().kill_on_drop(true);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command
    }

    async fn probe(&self) -> Probed {
        Probed::of(self.command().output().await.unwrap())
    }

    fn is_clean(&self) {
        assert_eq!((self.store.keys(), self.store.uploads()), (Vec::new(), 0));
    }
}

struct Probed {
    code: Option<i32>,
    report: Value,
    says: String,
}

impl Probed {
    fn of(output: Output) -> Self {
        let says = String::from_utf8(output.stderr).unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert!(!says.contains(store::SECRET_KEY), "{says}");
        Self { code: output.status.code(), report, says }
    }

    #[track_caller]
    fn found(&self, check: &str) -> &str {
        let checks = self.report["checks"].as_array().unwrap_or_else(|| panic!("{}", self.says));
        let check = checks.iter().find(|found| found["check"] == check).unwrap_or_else(|| panic!("{check}"));
        check["found"].as_str().unwrap()
    }

    /// Value and need of a setting.
    #[track_caller]
    fn setting(&self, name: &str) -> (&str, &str) {
        let settings = self.report["settings"].as_array().unwrap_or_else(|| panic!("{}", self.says));
        let setting = settings.iter().find(|setting| setting["setting"] == name).unwrap();
        (setting["value"].as_str().unwrap(), setting["need"].as_str().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_all_needs_no_change_and_is_left_as_it_was() {
    let place = Place::new("").await;
    place.store.put("data/x/before", "here");
    let probed = place.probe().await;
    assert_eq!(probed.code, Some(0), "{} {:#}", probed.says, probed.report);
    for check in
        ["list", "put", "get", "range", "copy", "batch delete", "upload a part", "complete an upload"]
    {
        assert_eq!(probed.found(check), "yes", "{check}");
    }
    for check in [
        "abort an upload",
        "names in lists (encoding-type=url)",
        "conditional writes (If-None-Match: *)",
        "refuses false signatures",
        "refuses torn uploads",
        "verifies x-amz-content-sha256",
        "checksums in trailers",
    ] {
        assert_eq!(probed.found(check), "yes", "{check}");
    }
    assert_eq!(probed.setting("trailers"), ("\"forward\"", "no"));
    assert_eq!(probed.setting("broken_uploads"), ("\"refused\"", "no"));
    assert_eq!(probed.setting("verifies"), ("[\"sha256\", \"content-md5\", \"checksum\"]", "may"));
    assert!(probed.setting("checksums").0.contains("XXHASH128"));
    assert_eq!((place.store.keys(), place.store.uploads()), (vec!["data/x/before".to_owned()], 0));
    // Nothing outside the prefix was touched, and nobody else's objects were listed.
    let prefix = probed.report["prefix"].as_str().unwrap();
    assert!(prefix.starts_with("data/.subgate-probe/"), "{prefix}");
    for seen in place.store.seen() {
        let own =
            seen.key.starts_with(prefix) || seen.query("prefix").is_some_and(|of| of.starts_with(prefix));
        assert!(own || seen.query("delete").is_some(), "{} {}", seen.method, seen.target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p64_a_store_that_keeps_torn_uploads_needs_its_setting() {
    let place = Place::new("").await;
    place.store.keep_torn_uploads();
    let probed = place.probe().await;
    assert_eq!(probed.code, Some(1), "{}", probed.says);
    assert_eq!(probed.found("refuses torn uploads"), "no");
    assert_eq!(probed.setting("broken_uploads"), ("\"kept\"", "must"));
    place.is_clean();
    let place = Place::new("broken_uploads = \"kept\"").await;
    place.store.keep_torn_uploads();
    let probed = place.probe().await;
    assert_eq!((probed.code, probed.setting("broken_uploads").1), (Some(0), "no"), "{}", probed.says);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_refuses_or_ignores_becomes_a_setting() {
    let more = "storage_classes = [\"STANDARD\", \"GLACIER\"]\nverifies = [\"checksum\"]";
    let place = Place::new(more).await;
    place.store.script(|seen| {
        let refused = seen.header("x-amz-content-sha256").is_some_and(|hash| hash.starts_with("STREAMING"));
        let refused = refused || seen.header("x-amz-storage-class") == Some("GLACIER");
        refused.then(|| Reply::error(501, "NotImplemented", "not here"))
    });
    // An old store knows no checksums: it takes any.
    place.store.script(|seen| {
        let checksum = seen.headers.keys().any(|name| name.as_str().starts_with("x-amz-checksum-"));
        checksum.then(|| Reply::new(200).header("etag", "\"e\""))
    });
    let probed = place.probe().await;
    assert_eq!(probed.code, Some(1), "{}", probed.says);
    assert_eq!(probed.setting("trailers"), ("\"translate\"", "must"));
    assert_eq!(probed.setting("checksums"), ("[]", "must"));
    assert_eq!(probed.setting("verifies"), ("[\"sha256\", \"content-md5\"]", "must"));
    assert_eq!(probed.setting("storage_classes"), ("[\"STANDARD\"]", "must"));
    place.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lets_nobody_in_is_told_why() {
    let place = Place::new("").await;
    place.credentials(store::ACCESS_KEY, "another");
    let probed = place.probe().await;
    assert_eq!(probed.code, Some(77), "{}", probed.says);
    assert!(probed.says.contains("secret key of store.credentials is another"), "{}", probed.says);

    place.store.accept_keys(&[("AKOTHER", "secret")]);
    let probed = place.probe().await;
    assert_eq!(probed.code, Some(77), "{}", probed.says);
    assert!(probed.says.contains("does not know the access key"), "{}", probed.says);

    let place = Place::with("", &[("region = \"eu-store-1\"", "region = \"us-east-1\"")]).await;
    let probed = place.probe().await;
    assert_eq!((probed.code, probed.found("region")), (Some(1), "failed"), "{}", probed.says);
    assert_eq!(probed.setting("region"), ("\"eu-store-1\"", "must"));
    assert_eq!(probed.found("put"), "yes");
    place.is_clean();

    let place = Place::new("").await;
    let store_time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(14 * 60);
    let date = store_time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    place.store.always(Reply::error(403, "RequestTimeTooSkewed", "m").header("date", &date));
    let probed = place.probe().await;
    assert_eq!(probed.code, Some(77), "{}", probed.says);
    assert!(probed.says.contains("this server's clock is 14 min behind the store's"), "{}", probed.says);

    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let place = Place::new("").await;
    let text = std::fs::read_to_string(place.dir.path().join("proxy.toml")).unwrap();
    place.write("proxy.toml", &text.replace(&place.store.address.to_string(), &closed.to_string()));
    let probed = place.probe().await;
    assert_eq!(probed.code, Some(69), "{}", probed.says);
    assert!(probed.says.contains("store.endpoint: it cannot be reached"), "{}", probed.says);

    let place = Place::new("").await;
    std::fs::remove_file(place.dir.path().join("store.json")).unwrap();
    let probed = place.probe().await;
    assert_eq!(probed.code, Some(64), "{}", probed.says);
    assert!(probed.says.contains("store.credentials: "), "{}", probed.says);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_is_removed_after_a_signal_and_named_where_it_cannot_be() {
    let place = Place::new("").await;
    let child = place.command().spawn().unwrap();
    place.store.wait(|seen| seen.iter().any(|seen| seen.key.ends_with("/torn"))).await;
    let id = child.id().unwrap().to_string();
    assert!(tokio::process::Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    let probed = Probed::of(child.wait_with_output().await.unwrap());
    assert_eq!(probed.code, Some(1), "{}", probed.says);
    assert!(probed.says.contains("stopped before the end"), "{}", probed.says);
    place.is_clean();

    let place = Place::new("").await;
    place.store.script(|seen| (seen.method == "DELETE").then(|| Reply::error(403, "AccessDenied", "m")));
    let probed = place.probe().await;
    assert_eq!((probed.code, probed.found("delete")), (Some(1), "failed"), "{}", probed.says);
    let left = probed.report["left"].as_array().unwrap();
    assert!(!left.is_empty() && probed.says.contains("could not be removed: data/.subgate-probe/"));
    for key in place.store.keys() {
        assert!(left.iter().any(|left| *left == key.as_str()), "{key} is left, and not told");
    }
}
