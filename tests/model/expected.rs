//! What must be: a map of keys, the uploads that are open, and the folder policy. Pure.
//!
//! It knows S3's rules and the policy's, and nothing of how Subgate keeps them.

use std::collections::{BTreeMap, BTreeSet};

use super::operations::{
    Content, Folder, Key, List, NamedPart, Prefix, ReadCondition, Sent, Who, WriteCondition,
};

/// What no object may be smaller than (S10).
const OBJECT_BYTES_MIN: usize = 1024;

/// What no part but the last may be smaller than.
const PART_BYTES_MIN: usize = 5 << 20;

/// A refusal: its status, and the codes that say it. A HEAD shows the status alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub u16, pub &'static [&'static str]);

pub type Expected<T> = Result<T, Refused>;

const DENIED: Refused = Refused(403, &["AccessDenied"]);
const NO_SUCH_KEY: Refused = Refused(404, &["NoSuchKey"]);
const NO_SUCH_UPLOAD: Refused = Refused(404, &["NoSuchUpload"]);
const TOO_SMALL: Refused = Refused(400, &["EntityTooSmall"]);
const PRECONDITION_FAILED: Refused = Refused(412, &["PreconditionFailed"]);
/// Two things are wrong at once, and either may be seen first.
pub const ANY_REFUSAL: Refused = Refused(0, &[]);
const NAME_REFUSED: Refused = Refused(400, &["InvalidArgument"]);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub content: Vec<u8>,
    pub etag: String,
}

#[derive(Debug)]
pub struct OpenUpload {
    pub key: String,
    pub id: String,
    pub parts: BTreeMap<u32, Object>,
    pub is_open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    List,
    Read,
    Write,
    Delete,
}

/// The folders of each, as the server was told.
#[derive(Debug)]
pub struct People {
    /// The hotkeys of the registered.
    pub hotkeys: Vec<(Who, String)>,
    pub coldkey_of_a: String,
    pub coldkey_of_b: String,
    pub coldkey_of_validator: String,
}

impl People {
    pub fn folder(&self, folder: Folder) -> String {
        let Self { coldkey_of_a: a, coldkey_of_b: b, coldkey_of_validator: validator, .. } = self;
        match folder {
            Folder::OfA => format!("data/x/{a}/"),
            Folder::OfB => format!("data/x/{b}/"),
            Folder::OfValidator => format!("data/x/{validator}/"),
            Folder::RedditOfA => format!("data/reddit/{a}/"),
            Folder::NoSourceOfA => format!("data/y/{a}/"),
            Folder::BesideA => format!("data/x/{a}x/"),
            Folder::Elsewhere => "elsewhere/".to_owned(),
        }
    }

    pub fn key(&self, key: Key) -> String {
        self.folder(key.0) + key.1
    }

    pub fn prefix(&self, prefix: Prefix) -> String {
        match prefix {
            Prefix::Above(text) => text.to_owned(),
            Prefix::Inside(folder, rest) => self.folder(folder) + rest,
            Prefix::Itself(folder) => self.folder(folder).trim_end_matches('/').to_owned(),
            Prefix::Cut(folder) => {
                let mut text = self.folder(folder);
                text.truncate(text.len() - 2);
                text
            }
        }
    }

    fn own(&self, who: Who) -> Vec<String> {
        let coldkey = match who {
            Who::MinerA | Who::MinerA2 => &self.coldkey_of_a,
            Who::MinerB => &self.coldkey_of_b,
            Who::Validator => &self.coldkey_of_validator,
            Who::Stranger => return Vec::new(),
        };
        let of_coldkey = ["x", "reddit"].map(|source| format!("data/{source}/{coldkey}/"));
        // Above those of its jobs.
        let of_hotkey = self.hotkeys.iter().filter(|(whose, _)| *whose == who);
        of_hotkey.map(|(_, hotkey)| format!("data/hotkey={hotkey}/")).chain(of_coldkey).collect()
    }

    /// The folders in which somebody may do something.
    fn reach(&self, who: Who, action: Action) -> Vec<String> {
        let mut reach = self.own(who);
        if who == Who::Validator && matches!(action, Action::List | Action::Read) {
            reach.push("data/".to_owned());
        }
        reach
    }
}

/// A name that a list shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listed {
    Key(String),
    Prefix(String),
}

/// The whole bucket.
#[derive(Debug)]
pub struct Model<'a> {
    pub people: &'a People,
    pub objects: BTreeMap<String, Object>,
    pub uploads: Vec<OpenUpload>,
}

impl<'a> Model<'a> {
    pub fn new(people: &'a People) -> Self {
        Self { people, objects: BTreeMap::new(), uploads: Vec::new() }
    }

    pub fn may(&self, who: Who, action: Action, key: &str) -> Expected<()> {
        if who == Who::Stranger {
            return Err(DENIED);
        }
        if is_refused_name(key) {
            return Err(NAME_REFUSED);
        }
        let reach = self.people.reach(who, action);
        if reach.iter().any(|folder| key.starts_with(folder)) { Ok(()) } else { Err(DENIED) }
    }

    /// A PUT; on success its content becomes the object.
    pub fn put(&self, who: Who, key: &str, content: Content, sent: Sent) -> Expected<()> {
        self.may(who, Action::Write, key)?;
        if content.bytes < OBJECT_BYTES_MIN {
            return Err(TOO_SMALL);
        }
        check_body(sent)
    }

    /// A PUT of a key that ends in `/`; whether it becomes an object.
    pub fn put_folder_key(&self, who: Who, key: &str, content: Content, sent: Sent) -> Expected<bool> {
        if content.bytes > 0 {
            return self.put(who, key, content, sent).map(|()| true);
        }
        let leads_to_own = self.people.own(who).iter().any(|folder| folder.starts_with(key));
        if !leads_to_own {
            self.may(who, Action::Write, key)?;
        }
        check_body(sent).map(|()| false)
    }

    pub fn put_if(&self, who: Who, key: &str, content: Content, condition: WriteCondition) -> Expected<()> {
        self.put(who, key, content, Sent::Sha256)?;
        let is_there = self.objects.contains_key(key);
        match condition {
            WriteCondition::None => Ok(()),
            WriteCondition::IsNew if is_there => Err(PRECONDITION_FAILED),
            WriteCondition::IsNew => Ok(()),
            WriteCondition::IsPresent | WriteCondition::IsAnother if !is_there => Err(NO_SUCH_KEY),
            WriteCondition::IsPresent => Ok(()),
            WriteCondition::IsAnother => Err(PRECONDITION_FAILED),
        }
    }

    /// A copy; gives the content of the new object.
    pub fn copy(&self, who: Who, from: &str, to: &str) -> Expected<Vec<u8>> {
        self.may(who, Action::Write, to)?;
        self.may(who, Action::Read, from)?;
        self.objects.get(from).map(|object| object.content.clone()).ok_or(NO_SUCH_KEY)
    }

    pub fn upload(&self, slot: usize, key: &str) -> Expected<&OpenUpload> {
        let upload = self.uploads.get(slot).filter(|upload| upload.is_open && upload.key == key);
        upload.ok_or(NO_SUCH_UPLOAD)
    }

    pub fn upload_part(&self, who: Who, slot: usize, key: &str, sent: Sent) -> Expected<()> {
        self.may(who, Action::Write, key)?;
        match (check_body(sent), self.upload(slot, key)) {
            (Ok(()), upload) => upload.map(|_| ()),
            (Err(refused), Ok(_)) => Err(refused),
            // The store may have said so before the body came to its end.
            (Err(_), Err(_)) => Err(ANY_REFUSAL),
        }
    }

    pub fn copy_part(&self, who: Who, slot: usize, key: &str, from: &str) -> Expected<Vec<u8>> {
        self.may(who, Action::Write, key)?;
        self.may(who, Action::Read, from)?;
        self.upload(slot, key)?;
        self.objects.get(from).map(|object| object.content.clone()).ok_or(NO_SUCH_KEY)
    }

    pub fn list_parts(&self, who: Who, slot: usize, key: &str) -> Expected<Vec<(u32, String, usize)>> {
        self.may(who, Action::List, key)?;
        let parts = self.upload(slot, key)?.parts.iter();
        Ok(parts.map(|(number, part)| (*number, part.etag.clone(), part.content.len())).collect())
    }

    /// An abort; what is not there is what is asked for.
    pub fn abort(&mut self, who: Who, slot: usize, key: &str) -> Expected<()> {
        self.may(who, Action::Write, key)?;
        if self.upload(slot, key).is_ok() {
            self.uploads[slot].is_open = false;
        }
        Ok(())
    }

    /// A completion; gives the content of the new object. An upload whose sum is no object is given up.
    pub fn complete(&mut self, who: Who, slot: usize, key: &str, named: &[NamedPart]) -> Expected<Vec<u8>> {
        self.may(who, Action::Write, key)?;
        if named.is_empty() {
            return Err(Refused(400, &["MalformedXML"]));
        }
        if !named.is_sorted_by(|part, next| part.number < next.number) {
            return Err(Refused(400, &["InvalidPartOrder"]));
        }
        let upload = self.upload(slot, key)?;
        let mut parts = Vec::new();
        for part in named {
            let found = upload.parts.get(&part.number).filter(|_| part.has_its_etag);
            parts.push(found.ok_or(Refused(400, &["InvalidPart"]))?.content.as_slice());
        }
        let content = parts.concat();
        let (_, all_but_the_last) = parts.split_last().unwrap();
        if content.len() < OBJECT_BYTES_MIN {
            self.uploads[slot].is_open = false;
            return Err(TOO_SMALL);
        }
        if all_but_the_last.iter().any(|part| part.len() < PART_BYTES_MIN) {
            return Err(TOO_SMALL);
        }
        Ok(content)
    }

    /// A deletion of several; for each what is said of it.
    pub fn delete_objects(&mut self, who: Who, keys: &[String]) -> Expected<Vec<Expected<()>>> {
        if who == Who::Stranger {
            return Err(DENIED);
        }
        let verdicts: Vec<_> = keys.iter().map(|key| self.may(who, Action::Delete, key)).collect();
        for (key, verdict) in keys.iter().zip(&verdicts) {
            if verdict.is_ok() {
                self.objects.remove(key);
            }
        }
        Ok(verdicts)
    }

    /// A read: the object with the bytes of it that are shown.
    pub fn get(
        &self,
        who: Who,
        key: &str,
        range: Option<&str>,
        condition: ReadCondition,
    ) -> Expected<(&Object, std::ops::Range<usize>)> {
        self.may(who, Action::Read, key)?;
        let object = self.objects.get(key).ok_or(NO_SUCH_KEY)?;
        match condition {
            ReadCondition::None | ReadCondition::Match | ReadCondition::NoneMatchAnother => {}
            ReadCondition::MatchAnother => return Err(PRECONDITION_FAILED),
            ReadCondition::NoneMatch => return Err(Refused(304, &[])),
        }
        let bytes = object.content.len();
        let range = match range.map(|range| range.trim_start_matches("bytes=").split_once('-').unwrap()) {
            None => 0..bytes,
            Some(("", last)) => bytes.saturating_sub(last.parse().unwrap())..bytes,
            Some((first, "")) => first.parse().unwrap()..bytes,
            Some((first, last)) => {
                first.parse().unwrap()..last.parse::<usize>().unwrap().saturating_add(1).min(bytes)
            }
        };
        if range.start >= bytes { Err(Refused(416, &["InvalidRange"])) } else { Ok((object, range)) }
    }

    /// A list, of all pages together.
    pub fn list(&self, who: Who, list: &List) -> Expected<Vec<Listed>> {
        let prefix = self.people.prefix(list.prefix);
        let delimiter = list.delimiter.unwrap_or_default();
        let after = list.after.map(|key| self.people.key(key)).unwrap_or_default();
        // Who may list every root lists them as one; here is one root.
        let is_of_roots = who == Who::Validator && prefix.is_empty() && delimiter.is_empty();
        let asked = match is_of_roots {
            true => AskedFor::Store("data/".to_owned()),
            false => self.listed_prefix(who, &prefix, delimiter == "/")?,
        };
        // A marker is only compared: inside what may be listed it may look as it likes.
        let reach = self.people.reach(who, Action::List);
        let is_inside =
            prefix.starts_with(&after) || reach.iter().any(|folder| after.starts_with(folder.as_str()));
        if !is_inside && is_refused_name(&after) {
            return Err(NAME_REFUSED);
        }
        let asked = match asked {
            AskedFor::Store(asked) => asked,
            AskedFor::Here(prefixes) => {
                return Ok(prefixes.into_iter().filter(|name| *name > after).map(Listed::Prefix).collect());
            }
        };
        let is_harmless =
            asked.starts_with(&after) || reach.iter().any(|folder| after.starts_with(folder.as_str()));
        if !is_harmless && !is_of_roots {
            return Err(DENIED);
        }
        // S3's `marker` may be a common prefix of the page before, which is then behind us.
        let behind = |key: &str| {
            key <= after.as_str()
                || (!list.is_v2
                    && !delimiter.is_empty()
                    && after.ends_with(delimiter)
                    && key.starts_with(&after))
        };
        let mut shown = Vec::new();
        for key in self.objects.keys().filter(|key| key.starts_with(&asked) && !behind(key)) {
            let rest = &key[asked.len()..];
            let listed = match rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
                Some(at) => Listed::Prefix(key[..asked.len() + at + delimiter.len()].to_owned()),
                None => Listed::Key(key.clone()),
            };
            if shown.last() != Some(&listed) {
                shown.push(listed);
            }
        }
        Ok(shown)
    }

    /// The open uploads: key and id.
    pub fn list_uploads(&self, who: Who, prefix: &str) -> Expected<BTreeSet<(String, String)>> {
        match self.listed_prefix(who, prefix, false)? {
            AskedFor::Here(_) => Err(DENIED),
            AskedFor::Store(asked) => Ok(self.open_uploads(&asked)),
        }
    }

    pub fn open_uploads(&self, prefix: &str) -> BTreeSet<(String, String)> {
        let open = self.uploads.iter().filter(|upload| upload.is_open && upload.key.starts_with(prefix));
        open.map(|upload| (upload.key.clone(), upload.id.clone())).collect()
    }

    /// Whose business a list is, and which prefix it is about.
    fn listed_prefix(&self, who: Who, prefix: &str, by_slash: bool) -> Expected<AskedFor> {
        if who == Who::Stranger {
            return Err(DENIED);
        }
        let reach = self.people.reach(who, Action::List);
        if reach.iter().any(|folder| prefix.starts_with(folder.as_str())) {
            return Ok(AskedFor::Store(prefix.to_owned()));
        }
        let folder = format!("{prefix}/");
        if reach.contains(&folder) {
            return Ok(if by_slash { AskedFor::Here(vec![folder]) } else { AskedFor::Store(folder) });
        }
        let leads_down = (prefix.is_empty() || prefix.ends_with('/')) && by_slash;
        let below: BTreeSet<String> = reach
            .iter()
            .filter_map(|folder| folder.strip_prefix(prefix)?.split_once('/'))
            .map(|(next, _)| format!("{prefix}{next}/"))
            .collect();
        if leads_down && !below.is_empty() {
            return Ok(AskedFor::Here(below.into_iter().collect()));
        }
        Err(DENIED)
    }
}

enum AskedFor {
    /// The store, with this prefix.
    Store(String),
    /// The way down to the caller's folders.
    Here(Vec<String>),
}

/// The names of [`super::operations`] that no folder has.
fn is_refused_name(key: &str) -> bool {
    key.contains("//") || key.split('/').any(|segment| segment == "." || segment == "..")
}

fn check_body(sent: Sent) -> Expected<()> {
    match sent {
        Sent::Sha256 | Sent::Unsigned | Sent::SignedChunks | Sent::Trailer | Sent::Presigned => Ok(()),
        Sent::FalseSha256 => Err(Refused(400, &["XAmzContentSHA256Mismatch"])),
        Sent::FalseTrailer => Err(Refused(400, &["BadDigest"])),
        // There is nobody left to be answered.
        Sent::CutOff => Err(ANY_REFUSAL),
    }
}
