//! Which request it is, by its method and path.

use http::Method;
use percent_encoding::percent_decode_str;

use super::{fault::Place, http::Side};

/// A request to one of the listeners. What is named in a path is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    WhoAmI,
    Create,
    Delete,
    /// The description of a dataset is looked through before it is committed.
    CheckCard,
    Dataset {
        id: String,
        verb: Verb,
    },
    /// A URL of a file, which leads to the file itself.
    Resolve {
        id: String,
        revision: String,
        path: String,
    },
    /// A small file itself.
    Small {
        id: String,
        commit: String,
        path: String,
    },
    Batch {
        id: String,
    },
    Verify,
    Complete,
    /// A large file itself.
    Download {
        id: String,
        sha256: String,
    },
    Put {
        sha256: String,
    },
    Unknown,
}

/// What is asked of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    Info { revision: String },
    Tree { revision: String, path: String },
    Paths { revision: String },
    Refs,
    Commits { revision: String },
    Preupload { revision: String },
    Commit { revision: String },
    MakeBranch { name: String },
    MakeTag { revision: String },
}

impl Route {
    pub fn of(side: Side, method: &Method, path: &str) -> Self {
        let parts: Vec<String> = path
            .trim_start_matches('/')
            .split('/')
            .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match side {
            Side::Hub => Self::of_hub(method.as_str(), &parts),
            Side::Cdn => Self::of_cdn(method.as_str(), &parts),
        }
    }

    fn of_hub(method: &str, parts: &[&str]) -> Self {
        match (method, parts) {
            ("GET", ["api", "whoami-v2"]) => Self::WhoAmI,
            ("POST", ["api", "repos", "create"]) => Self::Create,
            ("DELETE", ["api", "repos", "delete"]) => Self::Delete,
            ("POST", ["api", "validate-yaml"]) => Self::CheckCard,
            ("POST", ["api", "lfs", "verify"]) => Self::Verify,
            ("POST", ["api", "complete_multipart"]) => Self::Complete,
            ("GET" | "HEAD", ["api", "resolve-cache", "datasets", owner, name, commit, path @ ..]) => {
                Self::Small {
                    id: format!("{owner}/{name}"),
                    commit: (*commit).to_owned(),
                    path: path.join("/"),
                }
            }
            (_, ["api", "datasets", owner, name, verb @ ..]) => match Verb::of(method, verb) {
                Some(verb) => Self::Dataset { id: format!("{owner}/{name}"), verb },
                None => Self::Unknown,
            },
            ("POST", ["datasets", owner, name, "info", "lfs", "objects", "batch"]) => {
                match name.strip_suffix(".git") {
                    Some(name) => Self::Batch { id: format!("{owner}/{name}") },
                    None => Self::Unknown,
                }
            }
            ("GET" | "HEAD", ["datasets", owner, name, "resolve", revision, path @ ..]) => Self::Resolve {
                id: format!("{owner}/{name}"),
                revision: (*revision).to_owned(),
                path: path.join("/"),
            },
            _ => Self::Unknown,
        }
    }

    fn of_cdn(method: &str, parts: &[&str]) -> Self {
        match (method, parts) {
            ("GET" | "HEAD", ["repos", owner, name, sha256]) => {
                Self::Download { id: format!("{owner}/{name}"), sha256: (*sha256).to_owned() }
            }
            ("PUT", ["uploads", sha256]) => Self::Put { sha256: (*sha256).to_owned() },
            _ => Self::Unknown,
        }
    }

    /// The place of this request in an order to fail.
    pub fn place(&self) -> Place {
        match self {
            Self::WhoAmI | Self::CheckCard | Self::Unknown => Place::Info,
            Self::Create | Self::Delete => Place::Create,
            Self::Dataset { verb, .. } => match verb {
                Verb::Info { .. } | Verb::Refs | Verb::Commits { .. } => Place::Info,
                Verb::MakeBranch { .. } | Verb::MakeTag { .. } => Place::Create,
                Verb::Tree { .. } => Place::Tree,
                Verb::Paths { .. } => Place::Paths,
                Verb::Preupload { .. } => Place::Preupload,
                Verb::Commit { .. } => Place::Commit,
            },
            Self::Resolve { .. } => Place::Resolve,
            Self::Small { .. } => Place::Small,
            Self::Batch { .. } => Place::Batch,
            Self::Verify => Place::Verify,
            Self::Complete => Place::Complete,
            Self::Download { .. } => Place::Cdn,
            Self::Put { .. } => Place::Put,
        }
    }
}

impl Verb {
    fn of(method: &str, parts: &[&str]) -> Option<Self> {
        let owned = |text: &&str| (*text).to_owned();
        Some(match (method, parts) {
            ("GET" | "HEAD", []) => Self::Info { revision: "main".to_owned() },
            ("GET" | "HEAD", ["revision", revision]) => Self::Info { revision: owned(revision) },
            ("GET", ["tree", revision, path @ ..]) => {
                Self::Tree { revision: owned(revision), path: path.join("/") }
            }
            ("POST", ["paths-info", revision]) => Self::Paths { revision: owned(revision) },
            ("GET", ["refs"]) => Self::Refs,
            ("GET", ["commits", revision]) => Self::Commits { revision: owned(revision) },
            ("POST", ["preupload", revision]) => Self::Preupload { revision: owned(revision) },
            ("POST", ["commit", revision]) => Self::Commit { revision: owned(revision) },
            ("POST", ["branch", name]) => Self::MakeBranch { name: owned(name) },
            ("POST", ["tag", revision]) => Self::MakeTag { revision: owned(revision) },
            _ => return None,
        })
    }
}
