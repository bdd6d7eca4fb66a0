//! Removes what the trial wrote, however it ended. \[IO\]

use std::time::Duration;

use http::{Method, StatusCode};

use super::{Doctor, Group, Report, finding::Finding, s3_client::Call};

/// A trial leaves about ten objects and one or two uploads.
const CLEAN_UP_TIME_MAX: Duration = Duration::from_secs(120);

/// S3's limit for a page.
const PAGE_KEYS: usize = 1000;

impl Doctor<'_> {
    pub(super) async fn clean_up(&self, report: &mut Report) {
        let check = async {
            tokio::time::timeout(CLEAN_UP_TIME_MAX, self.remove_everything())
                .await
                .unwrap_or_else(|_| Finding::failed(format!("not finished in time: see {}", self.own.prefix)))
        };
        report.check(Group::CleanUp, "nothing is left behind", check).await;
    }

    async fn remove_everything(&self) -> Finding {
        let mut left = Vec::new();
        let uploads = self.open_uploads.take();
        for (key, id) in &uploads {
            let call = Call::object(Method::DELETE, key).query("uploadId", id);
            let status = self.client.send(&call).await.map(|reply| reply.status);
            if !matches!(status, Ok(StatusCode::NO_CONTENT | StatusCode::NOT_FOUND)) {
                left.push(format!("an upload of {key}"));
            }
        }
        // Objects that the server should have refused: the same gap may allow their removal.
        for key in self.unexpected_keys.take() {
            let status =
                self.client.send(&Call::object(Method::DELETE, &key)).await.map(|reply| reply.status);
            if !matches!(status, Ok(StatusCode::NO_CONTENT | StatusCode::NOT_FOUND)) {
                left.push(format!("{key:?} (outside your folder)"));
            }
        }
        let keys = match self.list_own(PAGE_KEYS).await {
            Ok((keys, _)) => keys,
            Err(why) => return Finding::failed(format!("{} cannot be listed: {why}", self.own.prefix)),
        };
        for key in &keys {
            // The next listing shows whether it is gone.
            let _ = self.client.send(&Call::object(Method::DELETE, key)).await;
        }
        match self.list_own(PAGE_KEYS).await {
            Ok((remaining, _)) => left.extend(remaining),
            Err(why) => left.push(format!("all of {} ({why})", self.own.prefix)),
        }
        if left.is_empty() {
            return Finding::passed(format!("{} objects and {} uploads removed", keys.len(), uploads.len()));
        }
        Finding::failed(left.join(", "))
    }
}
