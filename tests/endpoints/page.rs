//! `/docs`: the values of the running server, whatever they are, and nothing that a stranger may not know.

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use regex_lite::Regex;
use serde_json::Value;

use crate::harness::{
    client::Answer,
    server::{ALICE, BOB, Setup, TestServer, VALIDATOR},
    vending::{ok, refused},
};

async fn page(server: &TestServer) -> String {
    let answer = server.plain_get("/docs").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

async fn asked_as(server: &TestServer, host: &str) -> Answer {
    server.send_raw("GET", format!("GET /docs HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes()).await
}

/// What stands between a tag and its end, the one time that it is there.
fn element<'a>(page: &'a str, name: &str) -> &'a str {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    assert_eq!((page.matches(&start).count(), page.matches(&end).count()), (1, 1), "{name}");
    page.split_once(&start).unwrap().1.split_once(&end).unwrap().0
}

#[tokio::test]
async fn the_page_shows_what_is_served_and_follows_the_configuration() {
    let server = TestServer::start().await;
    let text = page(&server).await;
    for shown in [
        &format!("http://{}", server.host()),
        "<code data-copy>data-universe</code>",
        "<code data-copy>us-east-1</code>",
        "1,024 bytes (1 KiB) to 5,368,709,120 bytes (5 GiB)",
        "24 hours, or less",
        "<code>data/{source}/{coldkey}/</code>",
        "<code>data/hotkey={hotkey}/job_id={job_id}/</code>",
        "one of <code>x</code>, <code>reddit</code>",
        "<code>[A-Za-z0-9_-]{1,64}</code>",
        "data/x/5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty/",
        "data/hotkey=5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY/job_id=default/",
        "<td>100/s, 10,000 at once</td><td>1,000/s, 10,000 at once</td>",
        "a validator reads every folder; nobody else gets in",
        "signed anew with the server's own key, and streamed to the real store",
        "subgate setup CLIENT",
        "id=\"example-hotkey\"",
        "id=\"example-vending\"",
    ] {
        assert!(text.contains(shown), "{shown}");
    }
    let receiver = VALIDATOR.ss58();
    let changed = Setup {
        server: "hosts = [\"s3.example.com\"]".into(),
        session: format!("issue_with = \"one\"\nreceiver = \"{receiver}\"\nttl_seconds_max = 3600"),
        policy: "folders = [\"jobs/{job}/{hotkey}/\"]\n[policy.variables]\njob = { pattern = \"[a-z]+\" }\n\
                 [policy.roles.validator]\nown = []\nall = [\"list\"]"
            .into(),
        limits: "object_bytes_min = 2000\nprincipal = \"coldkey\"\n\
                 [limits.small_files]\nnames = [\"_SUCCESS\", \"log/*\"]\n\
                 [limits.miner]\nreads_per_second = 7\nlists_per_second = \"none\"\nbytes_per_day_max = 12345"
            .into(),
        ..Setup::default()
    };
    server.reload(&changed).await.unwrap();
    let text = page(&server).await;
    for shown in [
        "<code data-copy>https://s3.example.com</code>",
        &format!("--endpoint https://s3.example.com --receiver {receiver}"),
        "1 hour, or less",
        "2,000 bytes to",
        "_SUCCESS, log/* from 0 bytes on",
        "owns one folder, <code>jobs/{job}/{hotkey}/</code>; nobody else gets in",
        "jobs/{job}/5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY/",
        "<td>nothing</td><td>list</td>",
        "<td>7/s, 10,000 at once</td>",
        "<td>no limit</td><td>100/s, 1,000 at once</td>",
        "<td>12,345 bytes</td><td>no limit</td>",
        "All hotkeys of a coldkey",
        "replace(&quot;{job}&quot;, &quot;default&quot;)",
    ] {
        assert!(text.contains(shown), "{shown}");
    }
    // What this server would refuse is not shown.
    assert!(!text.contains("example-vending") && !text.contains("a validator reads every folder"));
}

#[tokio::test]
async fn hostile_values_stay_text_in_every_language_of_the_page() {
    let literal =
        "a\\\"'$(touch x)`y`<img src=q onerror=alert(1)>&</script></pre>@endpoint@".replace('/', "");
    let setup = Setup {
        policy: format!(
            "folders = [\"{literal}/{{va'r\\\"}}/{{coldkey}}/\"]\n[policy.variables]\n\
             \"va'r\\\"\" = {{ pattern = \"<i>|d[e]fault\" }}"
        ),
        ..Setup::default()
    };
    let server = TestServer::with(setup).await;
    let text = page(&server).await;
    for raw in ["<img", "<i>", "@endpoint@<"] {
        assert!(!text.contains(raw), "{raw}");
    }
    assert!(text.contains("a&quot;&apos;$(touch x)`y`&lt;img src=q onerror=alert(1)&gt;&amp;&lt;script&gt;"));
    assert!(text.contains("@endpoint@/{va&apos;r&quot;}/{coldkey}/"), "values are not looked through again");
    assert!(text.contains("<code>&lt;i&gt;|d[e]fault</code>"));
    // The name of the variable goes into a word of a shell and a literal of Python.
    let in_shell = r#"'.folders[0] | split("{va'\''r\"}") | join("default")'"#;
    let in_python = r#".replace("{va'r\"}", "default")"#;
    let html = |text: &str| text.replace('"', "&quot;").replace('\'', "&apos;");
    assert!(text.contains(&html(in_shell)) && text.contains(&html(in_python)));
    element(&text, "script");
    element(&text, "style");

    // Nor does the host that a request names become part of a command.
    for host in ["$(x)", "a;b", "a'b", "<b>", "a`b`"] {
        refused(&asked_as(&server, host).await, 400, "Host");
    }
    let named = Setup { server: "hosts = [\"s3.example.com\"]".into(), ..Setup::default() };
    let server = TestServer::with(named).await;
    let text = asked_as(&server, "evil.example").await.text();
    assert!(text.contains("https://s3.example.com") && !text.contains("evil.example"));
}

#[tokio::test]
async fn strangers_learn_nothing_from_the_page_that_they_may_not_know() {
    let setup = Setup {
        server: "admin = \"127.0.0.1:0\"\ncors_origins = [\"https://inside.example\"]".into(),
        edge: "networks = [\"10.9.8.0/24\"]".into(),
        chain: format!(
            "validator_stake_min = 98765.0\nvalidator_allow = [\"{}\"]\nstale_seconds_max = 987",
            BOB.ss58()
        ),
        limits: format!(
            "[limits.address]\nsignature_failures_per_second = 9876\n\
             [limits.server]\nreads_per_second = 98765\n\
             [[limits.overrides]]\naccount = \"{}\"\nreads_per_second = 9871",
            ALICE.ss58()
        ),
        ..Setup::default()
    };
    let server = TestServer::with(setup).await;
    let text = page(&server).await;
    let store = server.store.address.to_string();
    let admin = server.admin.unwrap().to_string();
    // A free port may have any digits.
    let shown = text.replace(&server.host(), "");
    for secret in [
        store.as_str(),
        admin.as_str(),
        crate::harness::store::BUCKET,
        crate::harness::store::ACCESS_KEY,
        "inside.example",
        "10.9.8",
        "98765",
        "98,765",
        "9,876",
        "9876",
        "9,871",
        "987",
        "registry.json",
        "one.key",
        &ALICE.ss58(),
        &BOB.ss58(),
    ] {
        assert!(!shown.contains(secret), "{secret}");
    }
    // Whoever asks, and however, sees the same.
    let signed = "GET /docs HTTP/1.1\r\nhost: HOST\r\nauthorization: AWS4-HMAC-SHA256 x\r\n\r\n";
    let signed = signed.replace("HOST", &server.host());
    assert_eq!(server.send_raw("GET", signed.as_bytes()).await.text(), text);
    server.store.saw_nothing();
}

#[tokio::test]
async fn the_browser_is_told_what_the_page_may_do() {
    let server = TestServer::start().await;
    let answer = server.plain_get("/docs").await;
    let text = answer.text();
    let hash = |name: &str| {
        let hash = digest::digest(&digest::SHA256, element(&text, name).as_bytes());
        format!("'sha256-{}'", BASE64_STANDARD.encode(hash))
    };
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    );
    assert_eq!(answer.get("content-security-policy"), Some(policy.as_str()));
    assert_eq!(answer.get("cache-control"), Some("no-store"));
    assert_eq!(answer.get("x-content-type-options"), Some("nosniff"));
    // Its own address, in the examples, is the only one.
    let own = format!("http://{}", server.host());
    let others = text.replace(&own, "");
    assert!(!others.contains("http://") && !others.contains("https://"));
    for reference in [" src=", "@import", "url(", " style=", " onclick="] {
        assert!(!text.contains(reference), "{reference}");
    }
}

#[tokio::test]
async fn the_document_says_who_signs_each_operation_and_what_addresses_look_like() {
    let server = TestServer::start().await;
    let document = ok(&server.plain_get("/openapi.json").await);
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    let signed_by = |path: &str, method: &str| -> Vec<String> {
        let security = document["paths"][path][method]["security"].as_array();
        let security =
            security.map(|all| all.iter().flat_map(|one| one.as_object().unwrap().keys().cloned()));
        let names: Vec<String> = security.into_iter().flatten().collect();
        assert!(names.iter().all(|name| schemes.contains_key(name)), "{names:?}");
        names
    };
    let s3 = ["sessionSigV4", "sessionPresigned", "hotkeySigV4", "hotkeyPresigned"];
    for (path, method, names) in [
        ("/v1/session", "post", &["btauth"][..]),
        ("/get-folder-access", "post", &["bodySignature"]),
        ("/get-miner-list", "post", &["xTaoV2", "bodySignature"]),
        ("/get-file-upload-url", "post", &["xTaoV2"]),
        ("/healthz", "get", &[]),
        ("/docs", "get", &[]),
        ("/", "get", &s3),
        ("/{bucket}/{key}", "put", &s3),
        ("/{bucket}", "post", &[s3[0], s3[1], s3[2], s3[3], "formPolicy"]),
    ] {
        assert_eq!(signed_by(path, method), names, "{method} {path}");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters")
        {
            let is_open = operation["tags"] == serde_json::json!(["server"]);
            assert_eq!(signed_by(path, method).is_empty(), is_open, "{method} {path}");
        }
    }
    let pattern = |schema: &str| {
        Regex::new(document["components"]["schemas"][schema]["pattern"].as_str().unwrap()).unwrap()
    };
    for person in [&*ALICE, &*BOB, &*VALIDATOR] {
        assert!(
            pattern("Ss58").is_match(&person.ss58()) && pattern("Ss58").is_match(&person.coldkey.to_ss58())
        );
        assert!(!pattern("Ss58").is_match(&person.ss58()[1..]));
        let signature = hex::encode(person.hotkey.sign(b"text"));
        assert!(pattern("HexSignature").is_match(&signature));
        assert!(!pattern("HexSignature").is_match(&signature[2..]));
    }
    // Where addresses are asked for, they have that shape.
    let request = &document["components"]["schemas"]["FolderAccessRequest"]["properties"];
    for field in ["coldkey", "hotkey"] {
        assert_eq!(request[field]["$ref"], Value::from("#/components/schemas/Ss58"), "{request}");
    }
    assert_eq!(request["signature"]["$ref"], Value::from("#/components/schemas/HexSignature"));
}
