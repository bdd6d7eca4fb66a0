//! What clients do: operations as values, and how a sequence of them is made up and made shorter.

use proptest::{collection, option, prelude::*, sample::select};

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    MinerA,
    /// Another hotkey of A's coldkey; it signs with the hotkey itself, where the others have sessions.
    MinerA2,
    MinerB,
    Validator,
    /// Not registered.
    Stranger,
}

pub const EVERYBODY: [Who; 5] = [Who::MinerA, Who::MinerA2, Who::MinerB, Who::Validator, Who::Stranger];

/// Places in the bucket, whoever's they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// `data/x/<coldkey>/`
    OfA,
    OfB,
    OfValidator,
    /// `data/reddit/<coldkey>/`
    RedditOfA,
    /// `data/y/<coldkey>/`: no folder of the policy.
    NoSourceOfA,
    /// A name that begins with that of A's folder.
    BesideA,
    /// Outside of the data root.
    Elsewhere,
}

const FOLDERS: [Folder; 7] = [
    Folder::OfA,
    Folder::OfB,
    Folder::OfValidator,
    Folder::RedditOfA,
    Folder::NoSourceOfA,
    Folder::BesideA,
    Folder::Elsewhere,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub Folder, pub &'static str);

/// Names that are near each other, and names that are written in several ways.
const NAMES: [&str; 10] = ["a", "a/b", "a/c", "a.b", "b", "b/c/d", "z/", "ü+%/ß", "a b&<c>", "%2e%2e"];

/// Names that no folder has.
const REFUSED_NAMES: [&str; 3] = ["a//b", "../a", "a/./b"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    pub bytes: usize,
    pub seed: u8,
}

impl Content {
    pub fn make(self) -> Vec<u8> {
        (0..self.bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ self.seed).collect()
    }
}

/// How an upload proves its body, and what goes wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// With its sha256.
    Sha256,
    Unsigned,
    /// In signed chunks; whoever signs with the hotkey itself has none, and sends the sha256.
    SignedChunks,
    /// In chunks, with a CRC-32 in the trailer.
    Trailer,
    Presigned,
    /// With the sha256 of another body.
    FalseSha256,
    /// With another CRC-32 in the trailer.
    FalseTrailer,
    /// The connection ends after half of the body.
    CutOff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteCondition {
    None,
    /// `If-None-Match: *`
    IsNew,
    /// `If-Match` with the present object's ETag, or with any where there is none.
    IsPresent,
    /// `If-Match` with another ETag.
    IsAnother,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadCondition {
    None,
    Match,
    MatchAnother,
    NoneMatch,
    NoneMatchAnother,
}

/// One upload of this sequence, by when it was created; and the key by which it is called, where that is not
/// its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upload {
    pub slot: usize,
    pub called: Option<Key>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedPart {
    pub number: u32,
    pub has_its_etag: bool,
}

/// The prefix of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// This text, above all folders.
    Above(&'static str),
    /// A folder without its last character but one.
    Cut(Folder),
    /// A folder without its slash.
    Itself(Folder),
    Inside(Folder, &'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List {
    pub is_v2: bool,
    pub prefix: Prefix,
    pub delimiter: Option<&'static str>,
    pub keys_max: Option<usize>,
    /// `marker` or `start-after`.
    pub after: Option<Key>,
    pub is_url_encoded: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    Put(Key, Content, Sent),
    PutIf(Key, Content, WriteCondition),
    /// Of a key that ends in `/`.
    PutFolderKey(Prefix, Content, Sent),
    /// From, to.
    Copy(Key, Key),
    CreateUpload(Key),
    UploadPart(Upload, u32, Content, Sent),
    UploadPartCopy(Upload, u32, Key),
    ListParts(Upload),
    Complete(Upload, Vec<NamedPart>),
    Abort(Upload),
    Delete(Key),
    DeleteObjects {
        keys: Vec<Key>,
        is_quiet: bool,
    },
    Get(Key, Option<&'static str>, ReadCondition),
    Head(Key, ReadCondition),
    List(List),
    ListUploads(Prefix),
}

/// One step of a sequence.
pub type Step = (Who, Operation);

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![6 => Just(Who::MinerA), 4 => select(&EVERYBODY[1..])]
}

fn folder() -> impl Strategy<Value = Folder> {
    prop_oneof![8 => Just(Folder::OfA), 4 => select(&FOLDERS[1..])]
}

fn key() -> impl Strategy<Value = Key> {
    let name = prop_oneof![30 => select(&NAMES[..]), 1 => select(&REFUSED_NAMES[..])];
    (folder(), name).prop_map(|(folder, name)| Key(folder, name))
}

fn content() -> impl Strategy<Value = Content> {
    let bytes = prop_oneof![8 => select(&[1024, 1500, 70_000][..]), 1 => select(&[1, 1023][..])];
    (bytes, 0..4_u8).prop_map(|(bytes, seed)| Content { bytes, seed })
}

/// Parts may be small; now and then one is large enough to be followed by another.
fn part_content() -> impl Strategy<Value = Content> {
    let bytes = prop_oneof![6 => select(&[1, 1023, 1024, 9000][..]), 1 => Just(5 << 20)];
    (bytes, 0..4_u8).prop_map(|(bytes, seed)| Content { bytes, seed })
}

fn sent() -> impl Strategy<Value = Sent> {
    select(
        &[
            Sent::Sha256,
            Sent::Unsigned,
            Sent::SignedChunks,
            Sent::Trailer,
            Sent::Presigned,
            Sent::FalseSha256,
            Sent::FalseTrailer,
            Sent::CutOff,
        ][..],
    )
}

/// Keys that end in `/`, in folders and above them.
fn folder_key() -> impl Strategy<Value = Prefix> {
    prop_oneof![
        1 => select(&["data/", "data/x/", "data/reddit/", "data/y/", "dat/", "elsewhere/"][..])
            .prop_map(Prefix::Above),
        2 => (folder(), select(&["", "a/", "a/b/", "z/", "../"][..]))
            .prop_map(|(folder, rest)| Prefix::Inside(folder, rest)),
    ]
}

/// Nothing, mostly.
fn folder_content() -> impl Strategy<Value = Content> {
    let bytes = prop_oneof![4 => Just(0), 1 => select(&[1, 2000][..])];
    (bytes, 0..4_u8).prop_map(|(bytes, seed)| Content { bytes, seed })
}

/// What goes wrong with nothing: there is no half of it, and the other CRC-32 is its own.
fn folder_sent() -> impl Strategy<Value = Sent> {
    select(
        &[
            Sent::Sha256,
            Sent::Unsigned,
            Sent::SignedChunks,
            Sent::Trailer,
            Sent::Presigned,
            Sent::FalseSha256,
        ][..],
    )
}

fn upload() -> impl Strategy<Value = Upload> {
    let called = prop_oneof![12 => Just(None), 1 => key().prop_map(Some)];
    (0..3_usize, called).prop_map(|(slot, called)| Upload { slot, called })
}

fn part_number() -> impl Strategy<Value = u32> {
    select(&[1, 2, 3, 10_000][..])
}

fn named_parts() -> impl Strategy<Value = Vec<NamedPart>> {
    let etag = prop_oneof![9 => Just(true), 1 => Just(false)];
    let part = (part_number(), etag).prop_map(|(number, has_its_etag)| NamedPart { number, has_its_etag });
    prop_oneof![
        6 => collection::vec(part, 0..4),
        6 => Just(vec![NamedPart { number: 1, has_its_etag: true }]),
        3 => Just([1, 2].map(|number| NamedPart { number, has_its_etag: true }).to_vec()),
    ]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    prop_oneof![
        6 => (folder(), select(&["", "a", "a/", "b/", "ü", "%"][..]))
            .prop_map(|(folder, rest)| Prefix::Inside(folder, rest)),
        2 => select(&["", "data", "data/", "data/x", "data/x/", "elsewhere/"][..]).prop_map(Prefix::Above),
        1 => folder().prop_map(Prefix::Itself),
        1 => folder().prop_map(Prefix::Cut),
    ]
}

fn list() -> impl Strategy<Value = List> {
    let delimiter = prop_oneof![
        3 => Just(None),
        4 => Just(Some("/")),
        1 => select(&["b", "/b", ""][..]).prop_map(Some),
    ];
    let keys_max = option::of(select(&[1000, 1, 2, 3, 0][..]));
    let after = prop_oneof![3 => Just(None), 1 => key().prop_map(Some)];
    (any::<bool>(), prefix(), delimiter, keys_max, after, any::<bool>()).prop_map(
        |(is_v2, prefix, delimiter, keys_max, after, is_url_encoded)| List {
            is_v2,
            prefix,
            delimiter,
            keys_max,
            after,
            is_url_encoded,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    let range = option::of(select(
        &["bytes=0-9", "bytes=1000-", "bytes=-5", "bytes=500-1000000", "bytes=9000000-"][..],
    ));
    let reading = select(
        &[
            ReadCondition::None,
            ReadCondition::Match,
            ReadCondition::MatchAnother,
            ReadCondition::NoneMatch,
            ReadCondition::NoneMatchAnother,
        ][..],
    );
    let writing = select(
        &[WriteCondition::None, WriteCondition::IsNew, WriteCondition::IsPresent, WriteCondition::IsAnother]
            [..],
    );
    prop_oneof![
        6 => (key(), content(), sent()).prop_map(|(key, content, sent)| Operation::Put(key, content, sent)),
        2 => (key(), content(), writing).prop_map(|(key, content, condition)| {
            Operation::PutIf(key, content, condition)
        }),
        3 => (folder_key(), folder_content(), folder_sent()).prop_map(|(key, content, sent)| {
            Operation::PutFolderKey(key, content, sent)
        }),
        3 => (key(), key()).prop_map(|(from, to)| Operation::Copy(from, to)),
        4 => key().prop_map(Operation::CreateUpload),
        5 => (upload(), part_number(), part_content(), sent()).prop_map(|(upload, number, content, sent)| {
            Operation::UploadPart(upload, number, content, sent)
        }),
        2 => (upload(), part_number(), key()).prop_map(|(upload, number, from)| {
            Operation::UploadPartCopy(upload, number, from)
        }),
        1 => upload().prop_map(Operation::ListParts),
        4 => (upload(), named_parts()).prop_map(|(upload, parts)| Operation::Complete(upload, parts)),
        2 => upload().prop_map(Operation::Abort),
        2 => key().prop_map(Operation::Delete),
        2 => (collection::vec(key(), 1..5), any::<bool>())
            .prop_map(|(keys, is_quiet)| Operation::DeleteObjects { keys, is_quiet }),
        3 => (key(), range, reading.clone()).prop_map(|(key, range, condition)| {
            Operation::Get(key, range, condition)
        }),
        1 => (key(), reading).prop_map(|(key, condition)| Operation::Head(key, condition)),
        5 => list().prop_map(Operation::List),
        1 => prefix().prop_map(Operation::ListUploads),
    ]
}

/// A sequence.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    collection::vec((who(), operation()), 1..40)
}
