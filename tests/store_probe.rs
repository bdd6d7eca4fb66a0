//! `subgate store probe` before stores of every manner: what it finds, what it advises, what it leaves
//! behind.

use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    closed_port::ClosedPort,
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

    fn has_setting(&self, name: &str) -> bool {
        self.report["settings"].as_array().unwrap().iter().any(|setting| setting["setting"] == name)
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

    let closed = ClosedPort::hold();
    let place = Place::new("").await;
    let text = std::fs::read_to_string(place.dir.path().join("proxy.toml")).unwrap();
    place.write("proxy.toml", &text.replace(&place.store.address.to_string(), &closed.address.to_string()));
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
        assert!(left.iter().any(|left| *left == key.as_str()), "{key} is left, and not told: {left:?}");
    }
}

/// A body whose digest is another than that of its usual 100 bytes: the second of each pair with that key.
fn second_of(key: &'static str, reply: Reply) -> impl Fn(&store::Seen) -> Option<Reply> + Send + 'static {
    let count = std::sync::atomic::AtomicUsize::new(0);
    move |seen| {
        let is_of_it = seen.method == "PUT" && seen.key.ends_with(key);
        let before = if is_of_it { count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) } else { 0 };
        (before % 2 == 1).then(|| reply.clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_refusal_of_the_digest_proves_that_a_store_verifies() {
    for reply in [
        Reply::error(503, "SlowDown", "m"),
        Reply::error(500, "InternalError", "m"),
        Reply::error(429, "TooManyRequests", "m"),
        Reply::error(400, "InvalidRequest", "m"),
        Reply::new(400),
    ] {
        let place = Place::new("").await;
        place.store.script(second_of("/digest", reply.clone()));
        place.store.script(second_of("/trailer", reply));
        let probed = place.probe().await;
        assert_eq!(probed.code, Some(1), "{}", probed.says);
        for check in [
            "verifies x-amz-content-sha256",
            "verifies content-md5",
            "knows and verifies checksums",
            "checksums in trailers",
        ] {
            assert_eq!(probed.found(check), "failed", "{check}");
        }
        for setting in ["verifies", "checksums", "trailers"] {
            assert!(!probed.has_setting(setting), "{setting} {:#}", probed.report);
        }
        place.is_clean();
    }
    let place = Place::new("").await;
    let mismatch = Reply::error(400, "XAmzContentSHA256Mismatch", "m");
    place.store.script(second_of("/digest", mismatch));
    let probed = place.probe().await;
    assert_eq!(probed.setting("verifies").0, "[\"sha256\", \"content-md5\", \"checksum\"]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_at_the_moment_is_not_one_that_never_does() {
    let place = Place::new("").await;
    place.store.script(|seen| {
        let is_of_it = seen.key.ends_with("/digest") || seen.key.ends_with("/trailer");
        (seen.method == "PUT" && is_of_it).then(|| Reply::error(503, "SlowDown", "m"))
    });
    let probed = place.probe().await;
    assert_eq!(probed.code, Some(1), "{}", probed.says);
    for setting in ["verifies", "checksums", "trailers"] {
        assert!(!probed.has_setting(setting), "{setting} {:#}", probed.report);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p64_nothing_is_said_of_torn_uploads_that_were_not_seen_to_be_torn() {
    let is_torn = |seen: &store::Seen, method: &str| seen.method == method && seen.key.ends_with("/torn");
    // It answers before the upload breaks off, or nobody sees what became of it.
    let place = Place::new("").await;
    place.store.script(move |seen| is_torn(seen, "PUT").then(|| Reply::error(503, "SlowDown", "m").early()));
    let other = Place::new("").await;
    other.store.script(move |seen| is_torn(seen, "GET").then(|| Reply::error(503, "SlowDown", "m")));
    let third = Place::new("").await;
    third.store.script(move |seen| is_torn(seen, "GET").then(|| Reply::new(404)));
    for place in [place, other, third] {
        let probed = place.probe().await;
        assert_eq!(probed.code, Some(1), "{}", probed.says);
        assert_eq!(probed.found("refuses torn uploads"), "failed");
        assert!(!probed.has_setting("broken_uploads"), "{:#}", probed.report);
        place.is_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_bucket_with_versions_they_are_deleted_too_or_named() {
    let place = Place::new("").await;
    place.store.keep_versions();
    place.store.keep_torn_uploads();
    let probed = place.probe().await;
    assert_eq!(probed.found("refuses torn uploads"), "no", "{}", probed.says);
    assert_eq!((place.store.versions(), &probed.report["left"]), (Vec::new(), &serde_json::json!([])));
    place.is_clean();

    let place = Place::new("").await;
    place.store.keep_versions();
    place
        .store
        .script(|seen| seen.query("versionId").is_some().then(|| Reply::error(403, "AccessDenied", "m")));
    let probed = place.probe().await;
    let left = probed.report["left"].as_array().unwrap();
    assert!(!place.store.versions().is_empty());
    for (key, id) in place.store.versions() {
        assert!(left.contains(&serde_json::json!(format!("{key} (version {id})"))), "{key} {id} {left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_answer_told_of_is_found_and_removed() {
    let place = Place::new("").await;
    let store = place.store.clone();
    place.store.script(move |seen| {
        // The answer to the creation is lost, and an object arrives late.
        if seen.method == "POST" && seen.query("uploads").is_some() {
            store.begin_upload(&seen.key, "lost+1/=");
            return Some(Reply::new(200).piece(0, "<Init").broken());
        }
        if let Some(prefix) = seen.key.strip_suffix("/object").filter(|_| seen.method == "DELETE") {
            store.put(&format!("{prefix}/late"), "late");
        }
        None
    });
    place.store.begin_upload("data/x/of-another", "another");
    let probed = place.probe().await;
    assert_eq!((probed.code, probed.found("create an upload")), (Some(1), "failed"), "{}", probed.says);
    assert_eq!(probed.report["left"], serde_json::json!([]));
    assert_eq!((place.store.keys(), place.store.uploads()), (Vec::new(), 1));

    let place = Place::new("").await;
    place.store.script(|seen| {
        let lists = seen.method == "GET" && seen.query("uploads").is_some();
        let begins = seen.method == "POST" && seen.query("uploads").is_some();
        (lists || begins).then(|| Reply::error(403, "AccessDenied", "m"))
    });
    let probed = place.probe().await;
    assert!(probed.says.contains("perhaps multipart uploads, which cannot be listed"), "{}", probed.says);
}
