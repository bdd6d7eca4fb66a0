//! What a test outside this process orders and looks up, below `/-/` of the Hub's own listener.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::http::Method;
use serde::Deserialize;
use serde_json::json;

use super::{
    answer::Answer, content::Content, fault::Fault, http::Request, repository::Visibility, site::Site,
    upload::bad,
};

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    User {
        name: String,
        token: String,
        may_write: bool,
    },
    Dataset {
        id: String,
        visibility: Visibility,
    },
    /// Files by path, in Base64.
    Commit {
        id: String,
        files: Vec<(String, String)>,
    },
    Chunks {
        id: String,
        files: u64,
        bytes: u64,
    },
    Remove {
        id: String,
        path: String,
    },
    Fault(Fault),
    Recover,
    Forget,
    PageEntries(usize),
    UploadInParts {
        from: u64,
        part_bytes: u64,
    },
    UrlSeconds(u64),
}

impl Site {
    pub fn control(&self, request: &Request) -> Answer {
        let id = request.query("id").unwrap_or_default();
        match (&request.method, request.path.as_str()) {
            (&Method::POST, "/-/order") => match request.json() {
                Ok(order) => self.obey(order),
                Err(refusal) => refusal,
            },
            (&Method::GET, "/-/seen") => Answer::json(200, &json!(self.seen())),
            (&Method::GET, "/-/violations") => Answer::json(200, &json!(self.violations())),
            (&Method::GET, "/-/dataset") => {
                Answer::json(200, &json!({ "paths": self.paths(id), "commits": self.commits(id) }))
            }
            (&Method::GET, "/-/file") => match self.file(id, request.query("path").unwrap_or_default()) {
                Some(data) => Answer::new(200, Content::from(data)),
                None => Answer::refusal(404, "", "there is no such file"),
            },
            _ => Answer::refusal(404, "", "there is no such order"),
        }
    }

    fn obey(&self, order: Order) -> Answer {
        let commit = match order {
            Order::User { name, token, may_write } => {
                self.user(&name, &token, may_write);
                None
            }
            Order::Dataset { id, visibility } => {
                self.dataset(&id, visibility);
                None
            }
            Order::Commit { id, files } => {
                let decoded =
                    files.iter().map(|(path, data)| Some((path.as_str(), STANDARD.decode(data).ok()?)));
                match decoded.collect::<Option<Vec<_>>>() {
                    Some(files) => Some(self.commit(&id, &files)),
                    None => return bad("a file is no Base64"),
                }
            }
            Order::Chunks { id, files, bytes } => Some(self.commit_chunks(&id, files, bytes)),
            Order::Remove { id, path } => Some(self.remove(&id, &path)),
            Order::Fault(fault) => {
                self.order(fault);
                None
            }
            Order::Recover => {
                self.recover();
                None
            }
            Order::Forget => {
                self.forget();
                None
            }
            Order::PageEntries(entries) => {
                self.page_entries(entries);
                None
            }
            Order::UploadInParts { from, part_bytes } => {
                self.upload_in_parts(from, part_bytes);
                None
            }
            Order::UrlSeconds(seconds) => {
                self.url_seconds(seconds);
                None
            }
        };
        Answer::json(200, &json!({ "commit": commit }))
    }
}
