//! Leave to do exactly one request, and what may be asked of the store with it.
//!
//! Invariants: [`super::Policy::authorise`] alone makes a [`Permit`]; each way of serving a request has a
//! type of its own, which hands out the requests to the store that belong to it and no others.

use super::{
    Action, Caller, Outbound, PageStart, Policy,
    folder_key::{self, Kind, Place},
};
use crate::{
    error::{Error, Result},
    s3::{
        CopySource, ForwardedHeaders, Operation, Request,
        xml::{Delete, DeleteObject},
    },
};

/// Leave to do exactly one request.
#[derive(Debug)]
pub struct Permit<'a> {
    policy: &'a Policy,
    caller: &'a Caller,
    request: Request,
    way: Way,
}

/// The way a permitted request is served, with what was decided about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    Bucket(BucketOperation),
    Folders(Vec<String>),
    Roots(Vec<String>),
    List,
    Forward,
    Upload,
    FolderKey(Place),
    Copy(CopySource),
    Complete { upload_id: String },
    DeleteObjects,
}

/// Operations on the bucket itself, which this server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are S3's own")]
pub enum BucketOperation {
    ListBuckets,
    HeadBucket,
    CreateBucket,
    GetBucketLocation,
}

/// A permitted request by the way it is served.
#[derive(Debug)]
pub enum Permitted<'p> {
    /// A question about the bucket, answered here.
    Bucket(BucketOperation),
    /// A list above the caller's folders, answered here with just these common prefixes: they lead to the
    /// folders.
    Folders(&'p [String]),
    /// A list above the roots, by who may list all of them.
    Roots(RootsPermit<'p>),
    /// A list by the store, inside what the caller may list.
    List(ListPermit<'p>),
    /// Goes on as it is, without a body.
    Forward(ForwardPermit<'p>),
    /// Brings an object, or a part of one.
    Upload(UploadPermit<'p>),
    /// A PUT of a key that ends in `/`: a folder marker, or an object of that name.
    FolderKey(FolderKeyPermit<'p>),
    /// Copies within the store; source and target are both permitted.
    Copy(CopyPermit<'p>),
    /// Completes a multipart upload.
    Complete(CompletePermit<'p>),
    /// Deletes the keys that its body names, each of which is judged by itself.
    DeleteObjects(DeletePermit<'p>),
}

/// See [`Permitted::Roots`].
#[derive(Debug, Clone, Copy)]
pub struct RootsPermit<'p> {
    permit: &'p Permit<'p>,
    roots: &'p [String],
}

/// Leave to list one root.
#[derive(Debug, Clone, Copy)]
pub struct RootList<'p>(&'p str);

/// See [`Permitted::List`].
#[derive(Debug, Clone, Copy)]
pub struct ListPermit<'p>(&'p Permit<'p>);

/// See [`Permitted::Forward`].
#[derive(Debug, Clone, Copy)]
pub struct ForwardPermit<'p>(&'p Permit<'p>);

/// See [`Permitted::Upload`].
#[derive(Debug, Clone, Copy)]
pub struct UploadPermit<'p>(&'p Permit<'p>);

/// See [`Permitted::FolderKey`].
#[derive(Debug, Clone, Copy)]
pub struct FolderKeyPermit<'p> {
    permit: &'p Permit<'p>,
    place: Place,
}

/// What a PUT of a key that ends in `/` is, by what its body declares.
#[derive(Debug)]
pub enum FolderKey<'p> {
    /// A folder marker that is answered and not stored: nothing of it goes to the store.
    Marker,
    /// A folder marker that is stored, whatever the least size of an object is.
    StoredMarker(UploadPermit<'p>),
    /// An object like any other.
    Object(UploadPermit<'p>),
}

/// See [`Permitted::Copy`].
#[derive(Debug, Clone, Copy)]
pub struct CopyPermit<'p> {
    permit: &'p Permit<'p>,
    source: &'p CopySource,
}

/// See [`Permitted::Complete`].
#[derive(Debug, Clone, Copy)]
pub struct CompletePermit<'p> {
    permit: &'p Permit<'p>,
    upload_id: &'p str,
}

/// See [`Permitted::DeleteObjects`].
#[derive(Debug, Clone, Copy)]
pub struct DeletePermit<'p>(&'p Permit<'p>);

impl<'a> Permit<'a> {
    pub(super) fn new(policy: &'a Policy, caller: &'a Caller, request: Request, way: Way) -> Self {
        Self { policy, caller, request, way }
    }

    /// The request that is permitted.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The operation that is permitted.
    pub fn operation(&self) -> Operation {
        self.request.operation
    }

    /// The caller to whom it is permitted.
    pub fn caller(&self) -> &Caller {
        self.caller
    }

    /// How the request is served.
    pub fn permitted(&self) -> Permitted<'_> {
        match &self.way {
            Way::Bucket(operation) => Permitted::Bucket(*operation),
            Way::Folders(prefixes) => Permitted::Folders(prefixes),
            Way::Roots(roots) => Permitted::Roots(RootsPermit { permit: self, roots }),
            Way::List => Permitted::List(ListPermit(self)),
            Way::Forward => Permitted::Forward(ForwardPermit(self)),
            Way::Upload => Permitted::Upload(UploadPermit(self)),
            Way::FolderKey(place) => Permitted::FolderKey(FolderKeyPermit { permit: self, place: *place }),
            Way::Copy(source) => Permitted::Copy(CopyPermit { permit: self, source }),
            Way::Complete { upload_id } => Permitted::Complete(CompletePermit { permit: self, upload_id }),
            Way::DeleteObjects => Permitted::DeleteObjects(DeletePermit(self)),
        }
    }
}

impl Permit<'_> {
    /// Leave to list the store, where that is what is permitted.
    pub fn as_list(&self) -> Option<ListPermit<'_>> {
        matches!(self.way, Way::List).then_some(ListPermit(self))
    }

    /// Leave to store an object, where an upload is what is permitted.
    ///
    /// # Errors
    /// `AccessDenied` for a key that is permitted as a folder marker alone; `InternalError` where this is no
    /// upload.
    pub fn object_upload(&self) -> Result<UploadPermit<'_>> {
        match &self.way {
            Way::Upload | Way::FolderKey(Place::InFolder) => Ok(UploadPermit(self)),
            Way::FolderKey(Place::AboveFolders) => Err(self.denied_above_folders()),
            Way::Bucket(_)
            | Way::Folders(_)
            | Way::Roots(_)
            | Way::List
            | Way::Forward
            | Way::Copy(_)
            | Way::Complete { .. }
            | Way::DeleteObjects => Err(Error::internal("a permit that is none to upload")),
        }
    }

    fn denied_above_folders(&self) -> Error {
        let mut denied = self.policy.denied(self.caller, Action::Write);
        denied.message.to_mut().push_str(" Above them a folder marker of 0 bytes is all that is taken.");
        denied
    }
}

impl<'p> RootsPermit<'p> {
    /// The request that is permitted.
    pub fn request(&self) -> &'p Request {
        &self.permit.request
    }

    /// The lists of the roots, in the order of their names; none begins another.
    pub fn lists(&self) -> impl Iterator<Item = RootList<'p>> + use<'p> {
        self.roots.iter().map(|root| RootList(root))
    }
}

impl<'p> RootList<'p> {
    /// The root, with its slash.
    pub fn root(&self) -> &'p str {
        self.0
    }

    /// At most `keys_max` keys of the root, those from `start`.
    pub fn page(&self, start: &PageStart, keys_max: usize) -> Outbound {
        Outbound::root_page(self.0, start, keys_max)
    }
}

impl<'p> ListPermit<'p> {
    /// The prefix that is listed.
    pub fn prefix(&self) -> &'p str {
        self.0.request.query.get("prefix").unwrap_or_default()
    }

    /// The list itself.
    pub fn outbound(&self, headers: ForwardedHeaders) -> Outbound {
        Outbound::of_request(&self.0.request, headers)
    }

    /// The page of a ListObjectsV2 that a continuation token leads to; the first without one.
    ///
    /// # Errors
    /// `InvalidURI` where the query is full already.
    pub fn page(&self, token: Option<&str>) -> Result<Outbound> {
        let mut outbound = self.outbound(ForwardedHeaders::default());
        if let Some(token) = token {
            outbound.query_mut().push("continuation-token", token)?;
        }
        Ok(outbound)
    }
}

impl ForwardPermit<'_> {
    /// The request itself.
    pub fn outbound(&self, headers: ForwardedHeaders) -> Outbound {
        Outbound::of_request(&self.0.request, headers)
    }
}

impl<'p> UploadPermit<'p> {
    /// Whether the body is one part of an object, and not a whole one.
    pub fn is_part(&self) -> bool {
        self.0.request.operation == Operation::UploadPart
    }

    /// The key of the object.
    pub fn key(&self) -> &'p str {
        self.0.request.key_opt().unwrap_or_default()
    }

    /// Who uploads.
    pub fn caller(&self) -> &'p Caller {
        self.0.caller
    }

    /// The request for the store, without its body.
    pub fn outbound(&self, headers: ForwardedHeaders) -> Outbound {
        Outbound::of_request(&self.0.request, headers)
    }
}

impl<'p> FolderKeyPermit<'p> {
    /// What it is with a body of `body_bytes`.
    ///
    /// # Errors
    /// `AccessDenied` for content above the caller's folders.
    pub fn with_body(&self, body_bytes: u64) -> Result<FolderKey<'p>> {
        match folder_key::kind(self.permit.policy.folder_markers, self.place, body_bytes) {
            Kind::Marker => Ok(FolderKey::Marker),
            Kind::StoredMarker => Ok(FolderKey::StoredMarker(UploadPermit(self.permit))),
            Kind::Object => Ok(FolderKey::Object(UploadPermit(self.permit))),
            Kind::Denied => Err(self.permit.denied_above_folders()),
        }
    }
}

impl<'p> CopyPermit<'p> {
    /// Whether the copy is one part of an object, and not a whole one.
    pub fn is_part(&self) -> bool {
        self.permit.request.operation == Operation::UploadPartCopy
    }

    /// The key of the copy.
    pub fn key(&self) -> &'p str {
        self.permit.request.key_opt().unwrap_or_default()
    }

    /// The object that is copied.
    pub fn source(&self) -> &'p CopySource {
        self.source
    }

    /// A HEAD of the source.
    pub fn source_head(&self) -> Outbound {
        Outbound::head(&self.source.key, self.source.version_id.as_deref())
    }

    /// The copy itself.
    pub fn outbound(&self, headers: ForwardedHeaders) -> Outbound {
        Outbound::of_request(&self.permit.request, headers).with_copy_source(self.source.clone())
    }
}

impl<'p> CompletePermit<'p> {
    /// The key of the object.
    pub fn key(&self) -> &'p str {
        self.permit.request.key_opt().unwrap_or_default()
    }

    /// The parts of the upload with numbers above `after`.
    pub fn parts_page(&self, after: Option<u32>) -> Outbound {
        Outbound::parts(&self.permit.request, self.upload_id, after)
    }

    /// A HEAD of the object that the upload became.
    pub fn head(&self) -> Outbound {
        Outbound::head_of_target(&self.permit.request)
    }

    /// Takes the upload back.
    pub fn abort(&self) -> Outbound {
        Outbound::abort(&self.permit.request, self.upload_id)
    }

    /// The completion, without its body.
    pub fn outbound(&self, headers: ForwardedHeaders) -> Outbound {
        Outbound::of_request(&self.permit.request, headers)
    }
}

impl DeletePermit<'_> {
    /// Judges each key by itself (P31); gives the document of those that may go, and a refusal for each
    /// other.
    pub fn divide(&self, mut delete: Delete) -> (Delete, Vec<(DeleteObject, Error)>) {
        let Permit { policy, caller, .. } = self.0;
        let mut refused = Vec::new();
        delete.objects = std::mem::take(&mut delete.objects)
            .into_iter()
            .filter_map(|object| match policy.check(caller, Action::Delete, &object.key) {
                Ok(()) => Some(object),
                Err(error) => {
                    refused.push((object, error));
                    None
                }
            })
            .collect();
        (delete, refused)
    }

    /// The deletion of the keys that may go, without its body.
    pub fn outbound(&self, headers: ForwardedHeaders) -> Outbound {
        Outbound::of_request(&self.0.request, headers)
    }
}

#[cfg(test)]
mod tests;
