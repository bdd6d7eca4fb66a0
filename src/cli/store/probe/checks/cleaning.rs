//! Taking away what the trials made, also that of which no answer told.

use http::{Method, StatusCode};

use super::{Trials, failure};
use crate::store::Trial;

/// What may be at the store because of the trials. All keys are below the prefix, and without it.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// Keys that were written, or may have been.
    pub(super) keys: Vec<String>,
    /// Those of them to whose write there was no answer; it would have named the version.
    pub(super) unanswered: Vec<String>,
    /// Keys and ids of uploads that may be under way.
    pub(super) uploads: Vec<(String, String)>,
    /// Keys of uploads that were begun, and whose id is not known.
    pub(super) begun: Vec<String>,
    /// Keys and ids of versions, in a bucket that keeps them.
    versions: Vec<(String, String)>,
}

impl Made {
    pub(super) fn version(&mut self, key: &str, id: &str) {
        let version = (key.to_owned(), id.to_owned());
        if !self.versions.contains(&version) {
            self.versions.push(version);
        }
    }
}

impl Trials<'_> {
    /// Removes what was made, and gives what is left.
    pub(in crate::cli::store::probe) async fn clean(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        self.clean_uploads(&mut left).await;
        let unanswered = std::mem::take(&mut self.made.unanswered);
        for key in &unanswered {
            // For the version that it names.
            let _ = self.send(Trial::object(Method::HEAD, key)).await;
        }
        let mut keys = std::mem::take(&mut self.made.keys);
        keys.sort_unstable();
        keys.dedup();
        let mut kept = Vec::new();
        for key in &keys {
            self.remove(key, &mut kept).await;
        }
        // What was under way when a signal or a broken connection came may have arrived by now.
        if !keys.is_empty() {
            self.clean_listed(&unanswered, &mut kept, &mut left).await;
        }
        left.extend(kept);
        for (key, id) in std::mem::take(&mut self.made.versions) {
            let delete = Trial::object(Method::DELETE, &key).query("versionId", &id);
            if !self.is_removed(delete).await {
                left.push(format!("{}{key} (version {id})", self.client.prefix()));
            }
        }
        left
    }

    async fn clean_uploads(&mut self, left: &mut Vec<String>) {
        let mut begun = std::mem::take(&mut self.made.begun);
        begun.dedup();
        let mut uploads = std::mem::take(&mut self.made.uploads);
        if !begun.is_empty() {
            // MinIO lists the uploads of a whole key alone.
            begun.push(String::new());
        }
        for key in begun {
            let prefix = format!("{}{key}", self.client.prefix());
            let list = Trial::bucket(Method::GET).query("uploads", "").query("prefix", &prefix);
            let answer = self.client.send(list).await;
            if let Some(says) = failure(&answer).filter(|_| key.is_empty()) {
                left.push(format!("{prefix} (perhaps multipart uploads, which cannot be listed: {says})"));
            }
            for upload in answer.iter().flat_map(|answer| answer.all("Upload")) {
                let key = upload.text_of("Key").and_then(|key| key.strip_prefix(self.client.prefix()));
                if let (Some(key), Some(id)) = (key, upload.text_of("UploadId")) {
                    uploads.push((key.to_owned(), id.to_owned()));
                }
            }
        }
        uploads.sort_unstable();
        uploads.dedup();
        for (key, id) in uploads {
            let abort = Trial::object(Method::DELETE, &key).query("uploadId", &id);
            if !self.is_removed(abort).await {
                left.push(format!("{}{key} (a multipart upload)", self.client.prefix()));
            }
        }
    }

    /// Removes what a list shows. A key that could not be removed and is not in it was never stored: stores
    /// refuse to delete a name that they refuse to write. One whose write has no answer may yet arrive.
    async fn clean_listed(&mut self, unanswered: &[String], kept: &mut Vec<String>, left: &mut Vec<String>) {
        let prefix = self.client.prefix().to_owned();
        let list = Trial::bucket(Method::GET).query("list-type", "2").query("prefix", &prefix);
        let answer = self.client.send(list).await;
        if let Some(says) = failure(&answer) {
            left.push(format!("{prefix} (perhaps objects, which cannot be listed: {says})"));
        }
        let listed = answer.iter().flat_map(|answer| answer.all("Contents"));
        let listed: Vec<&str> = listed.filter_map(|entry| entry.text_of("Key")).collect();
        let is_all = answer.as_ref().is_ok_and(|answer| answer.text_of("IsTruncated") == Some("false"));
        if is_all {
            let may_arrive = |full: &str| {
                full.strip_prefix(&prefix).is_some_and(|key| unanswered.iter().any(|it| it == key))
            };
            kept.retain(|kept| listed.contains(&kept.as_str()) || may_arrive(kept));
        }
        for full in listed {
            let Some(key) = full.strip_prefix(&prefix).filter(|_| !kept.iter().any(|kept| kept == full))
            else {
                continue;
            };
            let _ = self.send(Trial::object(Method::HEAD, key)).await;
            self.remove(key, kept).await;
        }
    }

    /// Deletes a key; in a bucket that keeps versions that makes one more.
    async fn remove(&mut self, key: &str, left: &mut Vec<String>) {
        let answer = self.send(Trial::object(Method::DELETE, key)).await;
        if !answer.is_ok_and(|answer| answer.is_success() || answer.status == StatusCode::NOT_FOUND) {
            left.push(format!("{}{key}", self.client.prefix()));
        }
    }

    /// Deletes what its id names: an upload or a version.
    async fn is_removed(&self, delete: Trial) -> bool {
        let answer = self.client.send(delete).await;
        answer.is_ok_and(|answer| answer.is_success() || answer.status == StatusCode::NOT_FOUND)
    }
}
