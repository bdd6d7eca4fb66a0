//! What both listeners know, and what a test arranges and looks up there.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Mutex, MutexGuard},
};

use super::{
    access::User,
    content::Content,
    fault::Fault,
    http::Seen,
    repository::{Repository, Visibility},
    upload::Upload,
};

/// What is set for all repositories.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Entries on one page of a tree.
    pub page_entries: usize,
    /// Files of this size and more are uploaded in parts.
    pub parts_from_bytes: u64,
    pub part_bytes: u64,
    /// How long a signed URL counts.
    pub url_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let mib = 1 << 20;
        Self { page_entries: 1000, parts_from_bytes: 16 * mib, part_bytes: 8 * mib, url_seconds: 3600 }
    }
}

#[derive(Default)]
pub struct State {
    /// By their tokens.
    pub users: BTreeMap<String, User>,
    /// By names such as `alice/x_dataset_7`.
    pub repositories: BTreeMap<String, Repository>,
    /// What LFS keeps, by SHA-256.
    pub objects: HashMap<String, Content>,
    /// Uploads in parts that are not complete, by id.
    pub uploads: BTreeMap<String, Upload>,
    pub faults: Vec<Fault>,
    pub seen: Vec<Seen>,
    /// What no client may do, such as showing its token to the CDN.
    pub violations: Vec<String>,
    pub limits: Limits,
    /// Commits and uploads so far, of which ids are made.
    pub count: u64,
}

pub struct Site {
    /// The Hub's URL.
    pub endpoint: String,
    /// The CDN's URL.
    pub cdn: String,
    /// What URLs of the CDN are signed with.
    pub key: [u8; 32],
    state: Mutex<State>,
}

impl Site {
    pub fn new(hub: SocketAddr, cdn: SocketAddr) -> Self {
        Self {
            endpoint: format!("http://{hub}"),
            cdn: format!("http://{cdn}"),
            key: std::array::from_fn(|_| fastrand::u8(..)),
            state: Mutex::default(),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A user, who may write below that name with the token if `may_write`.
    pub fn user(&self, name: &str, token: &str, may_write: bool) {
        let user = User { name: name.to_owned(), may_write };
        self.state().users.insert(token.to_owned(), user);
    }

    /// An empty dataset of that name, such as `alice/x_dataset_7`.
    pub fn dataset(&self, id: &str, visibility: Visibility) {
        self.state().create(id, visibility);
    }

    /// Commits files to `main`, by LFS or not as the Hub decides; gives the commit.
    pub fn commit<T: AsRef<[u8]>>(&self, id: &str, files: &[(&str, T)]) -> String {
        let content = |data: &T| Content::from(data.as_ref().to_vec());
        let files = files.iter().map(|(path, data)| ((*path).to_owned(), content(data)));
        self.state().commit_files(id, files.collect())
    }

    /// Commits so many files of so many bytes each as `data/train-DataEntity_chunk_{n}.parquet`; they are
    /// made when they are read.
    pub fn commit_chunks(&self, id: &str, files: u64, bytes: u64) -> String {
        let chunk = |n| (format!("data/train-DataEntity_chunk_{n}.parquet"), Content::generated(n, bytes));
        self.state().commit_files(id, (0..files).map(chunk).collect())
    }

    /// Commits the absence of a file to `main`; gives the commit.
    pub fn remove(&self, id: &str, path: &str) -> String {
        self.state().remove_file(id, path)
    }

    /// The bytes of a file at the head of `main`.
    pub fn file(&self, id: &str, path: &str) -> Option<Vec<u8>> {
        let head = self.state().repositories.get(id)?.head("main")?;
        Some(head.files.get(path)?.content.all())
    }

    /// All paths at the head of `main`, without `.gitattributes`, which every dataset has.
    pub fn paths(&self, id: &str) -> Vec<String> {
        let head = self.state().repositories.get(id).and_then(|repository| repository.head("main"));
        let paths = head.iter().flat_map(|head| head.files.keys());
        paths.filter(|path| *path != ".gitattributes").cloned().collect()
    }

    /// The commits of `main`, the newest first.
    pub fn commits(&self, id: &str) -> Vec<String> {
        let history = self.state().repositories.get(id).map(|repository| repository.history("main"));
        history.unwrap_or_default().iter().map(|commit| commit.oid.clone()).collect()
    }

    /// Fails as ordered from now on; the first order that fits a request counts.
    pub fn order(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Fails no more.
    pub fn recover(&self) {
        self.state().faults.clear();
    }

    /// All requests to both listeners so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    pub fn forget(&self) {
        self.state().seen.clear();
    }

    /// What no client may do and one did.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// Entries on one page of a tree.
    pub fn page_entries(&self, entries: usize) {
        self.state().limits.page_entries = entries.max(1);
    }

    /// What has at least `from` bytes is uploaded in parts of that size.
    pub fn upload_in_parts(&self, from: u64, part_bytes: u64) {
        let limits = &mut self.state().limits;
        (limits.parts_from_bytes, limits.part_bytes) = (from, part_bytes.max(1));
    }

    /// How long a signed URL of the CDN counts.
    pub fn url_seconds(&self, seconds: u64) {
        self.state().limits.url_seconds = seconds;
    }
}
