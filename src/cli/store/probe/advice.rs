//! Which settings follow from what was found. Pure.

use serde::Serialize;

use super::checks::Findings;
use crate::config::{self, BrokenUploads, StoreAddressing, StoreChecks, Trailers};

/// Whether the file has to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Need {
    /// As it is, requests fail or broken objects come to be.
    Must,
    /// As it is, Subgate does work that the store would do.
    May,
    /// The file says so already.
    No,
}

/// One setting of `[store]`, as it fits the store, in TOML.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Setting {
    pub(super) setting: &'static str,
    pub(super) value: String,
    /// What the file says, or its default.
    pub(super) file: String,
    pub(super) need: Need,
}

/// The settings that fit; those of which nothing was found out are left out.
pub(super) fn settings(store: &config::Store, findings: &Findings) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut add = |setting, value: String, file: String, need: Need| {
        let need = if value == file { Need::No } else { need };
        settings.push(Setting { setting, value, file, need });
    };
    if findings.unusable.is_none() || findings.region.is_some() {
        let region = findings.region.as_ref().unwrap_or(&store.region);
        add("region", quoted(region), quoted(&store.region), Need::Must);
    }
    if findings.unusable.is_none() {
        let word = |addressing| match addressing {
            StoreAddressing::Path => quoted("path"),
            StoreAddressing::VirtualHost => quoted("virtual-host"),
        };
        let addressing = findings.addressing.unwrap_or(store.addressing);
        add("addressing", word(addressing), word(store.addressing), Need::Must);
    }
    if let Some(takes) = findings.takes_trailers {
        let word = |trailers| match trailers {
            Trailers::Forward => quoted("forward"),
            Trailers::Translate => quoted("translate"),
        };
        let (fits, need) = match takes {
            true => (Trailers::Forward, Need::May),
            false => (Trailers::Translate, Need::Must),
        };
        add("trailers", word(fits), word(store.trailers), need);
    }
    if let Some(keeps) = findings.keeps_torn_uploads {
        let word = |broken| match broken {
            BrokenUploads::Refused => quoted("refused"),
            BrokenUploads::Kept => quoted("kept"),
        };
        let (fits, need) = match keeps {
            true => (BrokenUploads::Kept, Need::Must),
            false => (BrokenUploads::Refused, Need::May),
        };
        add("broken_uploads", word(fits), word(store.broken_uploads), need);
    }
    if let Some(known) = &findings.checksums {
        let unknown = store.checksums.iter().any(|name| !known.contains(&name.as_str()));
        let mut file: Vec<&str> = store.checksums.iter().map(String::as_str).collect();
        // The order says nothing.
        file.sort_by_key(|name| known.iter().position(|known| known == name));
        add("checksums", list(known), list(&file), if unknown { Need::Must } else { Need::May });
    }
    if let (Some(sha256), Some(content_md5), Some(checksum)) =
        (findings.verifies_sha256, findings.verifies_content_md5, findings.verifies_checksums)
    {
        let fits = StoreChecks { sha256, content_md5, checksum };
        let file = store.verifies;
        let claims_too_much =
            (file.sha256 && !sha256) || (file.content_md5 && !content_md5) || (file.checksum && !checksum);
        add("verifies", checks(fits), checks(file), if claims_too_much { Need::Must } else { Need::May });
    }
    if !findings.refused_storage_classes.is_empty() {
        let fits: Vec<&str> = store.storage_classes.iter().map(String::as_str).collect();
        let left: Vec<&str> = fits.iter().copied().filter(|class| !refuses(findings, class)).collect();
        add("storage_classes", list(&left), list(&fits), Need::Must);
    }
    settings
}

fn refuses(findings: &Findings, class: &str) -> bool {
    findings.refused_storage_classes.iter().any(|refused| refused == class)
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn list(names: &[&str]) -> String {
    format!("[{}]", names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "))
}

fn checks(checks: StoreChecks) -> String {
    let StoreChecks { sha256, content_md5, checksum } = checks;
    let words = [(sha256, "sha256"), (content_md5, "content-md5"), (checksum, "checksum")];
    list(&words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect::<Vec<_>>())
}
