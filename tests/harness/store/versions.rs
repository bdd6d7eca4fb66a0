//! The versions of a bucket that keeps them: each write and each deletion makes one.

use super::{Reply, Seen, State};
use crate::harness::sigv4::Pair;

#[derive(Default)]
pub struct Versions {
    /// Keys and ids of those that are there.
    pub kept: Vec<Pair>,
    made: usize,
}

/// Makes a version of this key; none where the bucket keeps none.
pub fn make(state: &State, key: &str) -> Option<String> {
    let mut versions = state.versions.lock().unwrap();
    let versions = versions.as_mut()?;
    versions.made += 1;
    let id = format!("v+{}/=", versions.made);
    versions.kept.push((key.to_owned(), id.clone()));
    Some(id)
}

/// The answer to a deletion that names a version.
pub fn delete(state: &State, seen: &Seen) -> Option<Reply> {
    let id = seen.query("versionId").filter(|_| seen.method == "DELETE")?;
    let mut versions = state.versions.lock().unwrap();
    versions.as_mut()?.kept.retain(|(key, other)| *key != seen.key || other != id);
    Some(Reply::new(204).header("x-amz-version-id", id))
}

/// Says in an answer which version it speaks of.
pub fn named(state: &State, seen: &Seen, reply: Reply) -> Reply {
    let uploads = ["uploadId", "uploads"].map(|name| seen.query(name).is_some());
    let id = match (seen.method.as_str(), uploads) {
        _ if seen.key.is_empty() || reply.status >= 300 => None,
        ("PUT" | "DELETE", [false, false]) | ("POST", [true, false]) => make(state, &seen.key),
        ("GET" | "HEAD", [false, false]) => {
            let versions = state.versions.lock().unwrap();
            let mut kept = versions.iter().flat_map(|versions| &versions.kept).rev();
            kept.find(|(key, _)| *key == seen.key).map(|(_, id)| id.clone())
        }
        _ => None,
    };
    match id {
        Some(id) => reply.header("x-amz-version-id", &id),
        None => reply,
    }
}
