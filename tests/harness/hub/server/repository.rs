//! Datasets: commits, branches and tags, and the files of each commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;

use super::{
    content::{Content, pointer, sha1_hex},
    now_seconds,
    site::State,
};

/// What Git may hold by itself; more is for LFS.
pub const SMALL_BYTES_MAX: u64 = 10 << 20;

/// The kinds of files that a new dataset's `.gitattributes` gives to LFS.
const LFS_KINDS: [&str; 10] = ["parquet", "arrow", "bin", "gz", "zip", "zst", "tar", "npz", "png", "lz4"];

#[derive(Debug, Clone)]
pub struct File {
    pub content: Content,
    /// Of the blob that Git has: the file, or the pointer to what LFS keeps.
    pub git_oid: String,
    pub lfs: Option<Lfs>,
}

#[derive(Debug, Clone)]
pub struct Lfs {
    pub sha256: String,
    pub pointer_size: u64,
}

impl File {
    pub fn small(content: Content) -> Self {
        Self { git_oid: content.git_oid(), content, lfs: None }
    }

    pub fn large(content: Content, sha256: &str) -> Self {
        let pointer = pointer(sha256, content.size());
        let lfs = Lfs { sha256: sha256.to_owned(), pointer_size: pointer.size() };
        Self { content, git_oid: pointer.git_oid(), lfs: Some(lfs) }
    }

    /// What a client compares: LFS's name, or else Git's.
    pub fn oid(&self) -> &str {
        self.lfs.as_ref().map_or(&self.git_oid, |lfs| &lfs.sha256)
    }
}

/// Whether a file goes to LFS, as the Hub decides by name, size and first bytes.
pub fn is_for_lfs(path: &str, size: u64, sample: &[u8]) -> bool {
    let kind = path.rsplit_once('.').map_or("", |(_, kind)| kind);
    LFS_KINDS.contains(&kind) || size > SMALL_BYTES_MAX || sample.contains(&0)
}

/// All files of a commit by their paths.
pub type Files = BTreeMap<String, File>;

#[derive(Debug)]
pub struct Commit {
    pub oid: String,
    pub parent: Option<String>,
    pub title: String,
    pub seconds: u64,
    pub files: Files,
}

/// Who may see a dataset besides its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    Public,
    /// Nobody, and nobody learns that it is there.
    Private,
    /// Everybody, without the bytes of its files.
    Gated,
}

#[derive(Debug)]
pub struct Repository {
    pub id: String,
    pub visibility: Visibility,
    commits: BTreeMap<String, Arc<Commit>>,
    /// Branches and what they lead to.
    pub branches: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
}

impl Repository {
    pub fn is_private(&self) -> bool {
        self.visibility == Visibility::Private
    }

    pub fn is_gated(&self) -> bool {
        self.visibility == Visibility::Gated
    }

    /// Who may write it.
    pub fn owner(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }

    pub fn head(&self, branch: &str) -> Option<Arc<Commit>> {
        self.commits.get(self.branches.get(branch)?).cloned()
    }

    /// The commit of a branch, a tag, or the name of a commit or its beginning.
    pub fn at(&self, revision: &str) -> Option<Arc<Commit>> {
        let branch = revision.strip_prefix("refs/heads/").unwrap_or(revision);
        if let Some(oid) = self.branches.get(branch).or_else(|| self.tags.get(revision)) {
            return self.commits.get(oid).cloned();
        }
        let is_name = revision.len() >= 7 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut named = self.commits.values().filter(|commit| is_name && commit.oid.starts_with(revision));
        named.next().cloned()
    }

    /// A commit and those before it.
    pub fn history(&self, revision: &str) -> Vec<Arc<Commit>> {
        let first = self.at(revision);
        let before = |commit: &Arc<Commit>| self.commits.get(commit.parent.as_ref()?).cloned();
        std::iter::successors(first, before).collect()
    }

    /// The folders of a commit, each with a name as Git would give it.
    pub fn folders(commit: &Commit) -> BTreeMap<String, String> {
        let places = |path: &str| path.match_indices('/').map(|(at, _)| at).collect::<Vec<_>>();
        let folders: BTreeSet<&str> =
            commit.files.keys().flat_map(|path| places(path).into_iter().map(|at| &path[..at])).collect();
        folders.into_iter().map(|path| (path.to_owned(), sha1_hex(&format!("tree {path}")))).collect()
    }
}

impl State {
    /// A dataset with what the Hub puts into a new one.
    pub fn create(&mut self, id: &str, visibility: Visibility) {
        let repository = Repository {
            id: id.to_owned(),
            visibility,
            commits: BTreeMap::new(),
            branches: BTreeMap::new(),
            tags: BTreeMap::new(),
        };
        self.repositories.insert(id.to_owned(), repository);
        let line = |kind: &&str| format!("*.{kind} filter=lfs diff=lfs merge=lfs -text\n");
        let attributes: String = LFS_KINDS.iter().map(line).collect();
        let file = File::small(Content::from(attributes.into_bytes()));
        self.commit_to(id, "main", "initial commit", Files::from([(".gitattributes".to_owned(), file)]));
    }

    /// Files beside those of `main`, by LFS or not as the Hub decides.
    #[track_caller]
    pub fn commit_files(&mut self, id: &str, added: Vec<(String, Content)>) -> String {
        let head = self.repositories.get(id).and_then(|repository| repository.head("main"));
        let mut files = head.expect("a dataset with a main branch").files.clone();
        for (path, content) in added {
            let file = if content.size() > 0 && is_for_lfs(&path, content.size(), &content.sample()) {
                let sha256 = content.sha256();
                self.objects.insert(sha256.clone(), content.clone());
                File::large(content, &sha256)
            } else {
                File::small(content)
            };
            files.insert(path, file);
        }
        self.commit_to(id, "main", "Add files", files)
    }

    #[track_caller]
    pub fn remove_file(&mut self, id: &str, path: &str) -> String {
        let head = self.repositories.get(id).and_then(|repository| repository.head("main"));
        let mut files = head.expect("a dataset with a main branch").files.clone();
        assert!(files.remove(path).is_some(), "{id} has no {path}");
        self.commit_to(id, "main", "Remove a file", files)
    }

    /// Somebody commits to `main`: the first data file is gone, and there is another.
    pub fn move_on(&mut self, id: &str) {
        let head = self.repositories.get(id).and_then(|repository| repository.head("main"));
        let first = head.and_then(|head| head.files.keys().find(|path| path.starts_with("data/")).cloned());
        if let Some(path) = first {
            self.remove_file(id, &path);
            let name = format!("data/train-DataEntity_chunk_moved_{}.parquet", self.count);
            self.commit_files(id, vec![(name, Content::generated(self.count, 2048))]);
        }
    }

    /// A commit with exactly these files, to which the branch leads from now on.
    pub fn commit_to(&mut self, id: &str, branch: &str, title: &str, files: Files) -> String {
        self.count += 1;
        let count = self.count;
        let Some(repository) = self.repositories.get_mut(id) else { return String::new() };
        let parent = repository.branches.get(branch).cloned();
        let oid = sha1_hex(&format!("commit {count} of {id} after {parent:?}: {title}"));
        let commit =
            Commit { oid: oid.clone(), parent, title: title.to_owned(), seconds: now_seconds(), files };
        repository.commits.insert(oid.clone(), Arc::new(commit));
        repository.branches.insert(branch.to_owned(), oid.clone());
        oid
    }
}
