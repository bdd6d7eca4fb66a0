//! Nothing of the doctor stays behind, however the trial ended. \[IO\]

use std::time::Duration;

use http::{Method, StatusCode};

use super::{Doctor, Group, Report, Verdict, report::Finding, s3::Call};

/// A trial leaves about ten objects and an upload or two.
const CLEAN_UP_TIME_MAX: Duration = Duration::from_secs(120);

/// A page of S3's.
const PAGE_KEYS: usize = 1000;

impl Doctor<'_> {
    pub(super) async fn clean_up(&self, report: &mut Report) {
        let trial = async {
            tokio::time::timeout(CLEAN_UP_TIME_MAX, self.removed())
                .await
                .unwrap_or_else(|_| (Verdict::Failed, format!("not done in time; see {}", self.own.run)))
        };
        report.try_out(Group::CleanUp, "nothing is left behind", trial).await;
    }

    async fn removed(&self) -> Finding {
        let mut left = Vec::new();
        let begun = self.uploads.take();
        for (key, id) in &begun {
            let call = Call::object(Method::DELETE, key).query("uploadId", id);
            let status = self.server.send(&call).await.map(|reply| reply.status);
            if !matches!(status, Ok(StatusCode::NO_CONTENT | StatusCode::NOT_FOUND)) {
                left.push(format!("an upload of {key}"));
            }
        }
        // What a server let through where it must not have; the same gap removes it again, or nothing does.
        for key in self.strays.take() {
            let status =
                self.server.send(&Call::object(Method::DELETE, &key)).await.map(|reply| reply.status);
            if !matches!(status, Ok(StatusCode::NO_CONTENT | StatusCode::NOT_FOUND)) {
                left.push(format!("{key:?} (let through)"));
            }
        }
        let keys = match self.list_run(PAGE_KEYS).await {
            Ok((keys, _)) => keys,
            Err(why) => return (Verdict::Failed, format!("{} cannot be listed: {why}", self.own.run)),
        };
        for key in &keys {
            // Whether it is gone is seen in the listing.
            let _ = self.server.send(&Call::object(Method::DELETE, key)).await;
        }
        match self.list_run(PAGE_KEYS).await {
            Ok((still, _)) => left.extend(still),
            Err(why) => left.push(format!("whatever {} holds ({why})", self.own.run)),
        }
        if left.is_empty() {
            return (Verdict::Passed, format!("{} objects and {} uploads removed", keys.len(), begun.len()));
        }
        (Verdict::Failed, left.join(", "))
    }
}
