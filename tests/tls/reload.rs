//! Certificates that change while the server runs.

use std::time::Duration;

use super::{NAME, Secured, ask};
use crate::harness::{client::PATIENCE, logs};

/// The certificate that a new connection is shown.
async fn shown(secured: &Secured) -> Vec<u8> {
    let stream = secured.authority.client().connect(secured.server.address, NAME).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it comes about");
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_ends_no_old_one() {
    let secured = Secured::start().await;
    let mut held = secured.connect(&secured.authority.client()).await.unwrap();
    assert_eq!(ask(&mut held).await, 200);
    let first = shown(&secured).await;
    let renewed = secured.authority.issue(&[NAME]);
    secured.renew(&renewed, 0);
    until(async || shown(&secured).await == renewed.certificate.as_ref()).await;
    assert_ne!(first, renewed.certificate.as_ref());
    assert_eq!(ask(&mut held).await, 200);
}

#[tokio::test]
async fn a_faulty_change_is_told_once_and_replaces_nothing() {
    logs::capture();
    let secured = Secured::start().await;
    let first = shown(&secured).await;
    let (chain, key) = (secured.dir.path().join("0.pem"), secured.dir.path().join("0.key"));
    let other = secured.authority.issue(&[NAME]);
    let expired =
        secured.authority.issue_with(&[NAME], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let (shown_chain, shown_key) = (chain.display(), key.display());
    let faults = [
        // A key that does not fit, a file that is gone, one with nothing in it, and one that nobody believes.
        (other.chain.clone(), None, format!("{shown_key} is not the key of its certificate")),
        (String::new(), None, format!("{shown_chain} holds no certificate")),
        (expired.chain, Some(expired.key), format!("{shown_chain} has expired")),
    ];
    for (chain_text, key_text, told) in faults {
        if let Some(text) = key_text {
            std::fs::write(&key, text).unwrap();
        }
        std::fs::write(&chain, chain_text).unwrap();
        until(async || logs::captured().contains(&told)).await;
        assert!(shown(&secured).await == first, "{told}");
        // It is not told again, however often it is looked at.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(logs::captured().matches(&told).count(), 1, "{told}");
    }
    std::fs::remove_file(&chain).unwrap();
    until(async || logs::captured().contains(&format!("{shown_chain} cannot be read"))).await;
    assert!(shown(&secured).await == first);
    secured.renew(&other, 0);
    until(async || shown(&secured).await == other.certificate.as_ref()).await;
    let log = logs::captured();
    assert!(log.contains("server.tls.certificates[0].key") && !log.contains("PRIVATE KEY"));
}
