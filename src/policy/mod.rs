//! Who may do what: a verified caller and a parsed request go in, a [`Permit`] or a refusal comes out.
//!
//! Pure: no IO, no clock. A [`Permit`] is made here alone, and nothing reaches the store without one.
//! Invariants:
//! - what no rule allows is refused, and before the store is asked, so that a refusal says nothing of
//!   existence (P36);
//! - a copy is two permissions: write here, read there (P30).

mod folder_key;
mod outbound;
mod permit;
mod rights;
mod template;

use std::{collections::BTreeSet, sync::Arc};

pub use folder_key::FolderMarkers;
use folder_key::Place;
pub use outbound::{Outbound, OutboundParts, PageStart};
use permit::Way;
pub use permit::{
    BucketOperation, CompletePermit, CopyPermit, DeletePermit, FolderKey, FolderKeyPermit, ForwardPermit,
    ListPermit, Permit, Permitted, RootList, RootsPermit, UploadPermit,
};
pub use rights::{Action, Actions, Rights, RoleRights};
pub use template::{Bound, Standing, Template, Values};

use crate::{
    chain::{AccountId, Owner, Role},
    error::{Code, Error, Reason, Result},
    s3::{
        Operation, Request,
        key::{check_key, check_marker, check_prefix},
        listing::{self, CONTINUATION_TOKEN, MARKERS, START_AFTER, is_continued},
    },
};

/// Who calls: a hotkey that has proven itself, with what the snapshot says of it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The hotkey whose signature was verified.
    pub hotkey: AccountId,
    /// Its addresses as they name folders.
    pub owner: Arc<Owner>,
    /// Its role by the validator rule.
    pub role: Role,
}

/// The folder policy: templates, roots and the rights of each role.
#[derive(Debug, Clone)]
pub struct Policy {
    templates: Vec<Template>,
    /// Under these (each with its `/`, or empty for the whole bucket) lies everything that `all` rights
    /// reach.
    roots: Vec<String>,
    rights: RoleRights,
    folder_markers: FolderMarkers,
}

impl Policy {
    /// A policy over `templates`; the roots are the literal beginnings of the templates.
    pub fn new(templates: Vec<Template>, rights: RoleRights) -> Self {
        let mut roots: Vec<String> =
            templates.iter().map(Template::root).collect::<BTreeSet<_>>().into_iter().collect();
        // `data/` covers `data/x/`: keep only roots that lie under no other.
        let all = roots.clone();
        roots.retain(|root| !all.iter().any(|other| other != root && root.starts_with(other.as_str())));
        Self { templates, roots, rights, folder_markers: FolderMarkers::default() }
    }

    /// The same policy with this rule for folder markers.
    #[must_use]
    pub fn with_folder_markers(self, folder_markers: FolderMarkers) -> Self {
        Self { folder_markers, ..self }
    }

    /// What begins everything that validators see.
    pub fn roots(&self) -> &[String] {
        &self.roots
    }

    /// The folder templates.
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// What each role may do.
    pub fn rights(&self) -> &RoleRights {
        &self.rights
    }

    /// The folders that are `owner`'s; an open variable is shown by its name.
    pub fn folders(&self, owner: &Owner) -> Vec<String> {
        self.first_folders(owner, usize::MAX)
    }

    fn first_folders(&self, owner: &Owner, count_max: usize) -> Vec<String> {
        let folders = self.templates.iter().flat_map(|template| template.folders(owner, count_max));
        folders.take(count_max).collect()
    }

    /// Decides on one request. Refusals name the caller's own folders and say nothing of what exists.
    ///
    /// # Errors
    /// `AccessDenied` starting `FolderDenied: `; `InvalidArgument` and `KeyTooLongError` for keys and
    /// prefixes that no folder has.
    pub fn authorise<'a>(&'a self, caller: &'a Caller, mut request: Request) -> Result<Permit<'a>> {
        let way = match request.operation {
            Operation::ListBuckets => Way::Bucket(BucketOperation::ListBuckets),
            Operation::HeadBucket => Way::Bucket(BucketOperation::HeadBucket),
            Operation::CreateBucket => Way::Bucket(BucketOperation::CreateBucket),
            Operation::GetBucketLocation => Way::Bucket(BucketOperation::GetBucketLocation),
            Operation::ListObjects | Operation::ListObjectsV2 | Operation::ListMultipartUploads => {
                self.authorise_list(caller, &mut request)?
            }
            // Each key stands in the body and is judged by `DeletePermit::divide`.
            Operation::DeleteObjects => Way::DeleteObjects,
            Operation::GetObject | Operation::HeadObject | Operation::GetObjectAttributes => {
                self.check(caller, Action::Read, request.key()?)?;
                Way::Forward
            }
            Operation::ListParts => {
                self.check(caller, Action::List, request.key()?)?;
                Way::Forward
            }
            Operation::PutObject if request.key()?.ends_with('/') => {
                Way::FolderKey(self.place_of_folder_key(caller, request.key()?)?)
            }
            Operation::PutObject | Operation::UploadPart => {
                self.check(caller, Action::Write, request.key()?)?;
                Way::Upload
            }
            Operation::CreateMultipartUpload | Operation::AbortMultipartUpload => {
                self.check(caller, Action::Write, request.key()?)?;
                Way::Forward
            }
            Operation::CompleteMultipartUpload => {
                self.check(caller, Action::Write, request.key()?)?;
                Way::Complete { upload_id: request.query.get("uploadId").unwrap_or_default().to_owned() }
            }
            Operation::CopyObject | Operation::UploadPartCopy => {
                self.check(caller, Action::Write, request.key()?)?;
                let source = request.copy_source()?;
                self.check(caller, Action::Read, &source.key)?;
                Way::Copy(source.clone())
            }
            Operation::DeleteObject => {
                self.check(caller, Action::Delete, request.key()?)?;
                Way::Forward
            }
        };
        Ok(Permit::new(self, caller, request, way))
    }

    /// Where a key that ends in `/` lies.
    fn place_of_folder_key(&self, caller: &Caller, key: &str) -> Result<Place> {
        match self.check(caller, Action::Write, key) {
            Ok(()) => Ok(Place::InFolder),
            Err(denied) => {
                check_key(key)?;
                let writes = self.rights.of(caller.role).own.contains(Action::Write);
                let leads = |template: &Template| template.leads_to_a_folder(&caller.owner, key);
                if writes && self.templates.iter().any(leads) { Ok(Place::AboveFolders) } else { Err(denied) }
            }
        }
    }

    fn check(&self, caller: &Caller, action: Action, key: &str) -> Result<()> {
        check_key(key)?;
        let may = match caller.role {
            Role::Miner | Role::Validator => self.may(caller, caller.role, action, key),
            Role::Undecided => {
                let may = self.may(caller, Role::Miner, action, key);
                if may != self.may(caller, Role::Validator, action, key) {
                    return Err(role_undecided());
                }
                may
            }
        };
        if may { Ok(()) } else { Err(self.denied(caller, action)) }
    }

    fn may(&self, caller: &Caller, role: Role, action: Action, key: &str) -> bool {
        let rights = self.rights.of(role);
        let own = rights.own.contains(action)
            && self.templates.iter().any(|template| template.owns(&caller.owner, key));
        own || rights.all.contains(action) && self.roots.iter().any(|root| key.starts_with(root.as_str()))
    }

    /// Decides on a list, and writes into the request the prefix with which it may go on.
    fn authorise_list(&self, caller: &Caller, request: &mut Request) -> Result<Way> {
        match caller.role {
            Role::Miner | Role::Validator => self.list_way(caller, request),
            // A miner's list of what is above its folders is whole and short: what both would see counts.
            Role::Undecided => {
                let as_role = |role| Caller { role, ..caller.clone() };
                let mut of_validator = request.clone();
                let validators = self.list_way(&as_role(Role::Validator), &mut of_validator);
                match (self.list_way(&as_role(Role::Miner), request), validators) {
                    (Ok(miners), Ok(validators))
                        if miners == validators && request.query == of_validator.query =>
                    {
                        Ok(miners)
                    }
                    (Err(refusal), Err(_)) => Err(refusal),
                    (Ok(_), Ok(_) | Err(_)) | (Err(_), Ok(_)) => Err(role_undecided()),
                }
            }
        }
    }

    fn list_way(&self, caller: &Caller, request: &mut Request) -> Result<Way> {
        let query = |name| request.query.get(name).unwrap_or_default();
        let prefix = query("prefix");
        check_prefix(prefix)?;
        let by_slash = query("delimiter") == "/";
        let answerable = by_slash && request.operation != Operation::ListMultipartUploads;
        let listed = match self.standing(caller, prefix) {
            Standing::Inside => Listed::ByStore(prefix.to_owned()),
            // S3 shows a folder that is named without its slash as one common prefix.
            Standing::FolderItself if answerable => Listed::Here(vec![format!("{prefix}/")]),
            Standing::FolderItself => Listed::ByStore(format!("{prefix}/")),
            Standing::Above(next) if answerable => Listed::Here(next),
            // Who may list every root may list them together; clients walk a whole bucket so.
            Standing::Above(_) if self.may_list_roots(caller, request) => {
                let below = self.roots.iter().filter(|root| root.starts_with(prefix));
                Listed::Roots(below.cloned().collect())
            }
            Standing::Above(_) | Standing::Outside => return Err(self.denied(caller, Action::List)),
        };
        let stays_inside =
            |marker: &str| prefix.starts_with(marker) || self.standing(caller, marker) == Standing::Inside;
        let is_continued = is_continued(&request.query);
        for name in MARKERS {
            if name == START_AFTER && is_continued {
                continue;
            }
            let marker = listing::marker(&request.query, name);
            check_marker(&marker)?;
            if !stays_inside(&marker) {
                check_prefix(&marker)?;
                if matches!(listed, Listed::ByStore(_)) {
                    return Err(self.denied(caller, Action::List));
                }
            }
        }
        // Beside a token it is an echo at most: what would be refused without one is left out.
        let echo = query(START_AFTER);
        let drops_start_after = is_continued
            && (echo == query(CONTINUATION_TOKEN) || check_prefix(echo).is_err() || !stays_inside(echo));
        match listed {
            Listed::Here(prefixes) => Ok(Way::Folders(prefixes)),
            Listed::Roots(roots) => Ok(Way::Roots(roots)),
            Listed::ByStore(prefix) => {
                let query = std::mem::take(&mut request.query);
                let given = MARKERS.into_iter().filter(|name| query.get(name).is_some());
                let markers: Vec<_> =
                    given.map(|name| (name, listing::marker(&query, name).into_owned())).collect();
                // Whose account the objects are in is the store's business (P63).
                let mut forwarded =
                    query.without(|name| matches!(name, "prefix" | "fetch-owner") || MARKERS.contains(&name));
                for (name, marker) in markers {
                    forwarded.push(name, marker)?;
                }
                forwarded.push("prefix", prefix)?;
                request.query = forwarded.without(|name| name == START_AFTER && drops_start_after);
                Ok(Way::List)
            }
        }
    }

    fn may_list_roots(&self, caller: &Caller, request: &Request) -> bool {
        request.operation != Operation::ListMultipartUploads
            && request.query.get("delimiter").is_none_or(str::is_empty)
            && self.rights.of(caller.role).all.contains(Action::List)
    }

    /// Where a list prefix stands, by all templates and roots together; the most that any of them gives.
    fn standing(&self, caller: &Caller, prefix: &str) -> Standing {
        let rights = self.rights.of(caller.role);
        let own = rights.own.contains(Action::List).then_some(&self.templates).into_iter().flatten();
        let all = rights.all.contains(Action::List).then_some(&self.roots).into_iter().flatten();
        let standings = all
            .map(|root| standing_to_root(root, prefix))
            .chain(own.map(|template| template.standing(&caller.owner, prefix)));
        let mut above = BTreeSet::new();
        let mut best = Standing::Outside;
        for standing in standings {
            match standing {
                Standing::Inside => return Standing::Inside,
                Standing::FolderItself => best = Standing::FolderItself,
                Standing::Above(next) => above.extend(next),
                Standing::Outside => {}
            }
        }
        if best == Standing::Outside && !above.is_empty() {
            Standing::Above(above.into_iter().collect())
        } else {
            best
        }
    }

    fn denied(&self, caller: &Caller, action: Action) -> Error {
        /// Enough to see one's own folders; many would make a long answer.
        const FOLDERS_SHOWN: usize = 8;
        let rights = self.rights.of(caller.role);
        let act = action.as_str();
        let mut may = Vec::new();
        if rights.own.contains(action) {
            let folders = self.first_folders(&caller.owner, FOLDERS_SHOWN);
            may.push(format!("your folders, {}", folders.join(" and ")));
        }
        if rights.all.contains(action) {
            may.push(format!("what lies under {}", self.roots.join(" and ")));
        }
        let message = match (may.is_empty(), action) {
            (true, _) => format!("a {} may not {act} here at all.", caller.role.as_str()),
            (false, Action::List) => format!(
                "you may list {} only; set the prefix to one of them (or the delimiter to / \
                 to walk down to it).",
                may.join(", and ")
            ),
            (false, _) => format!("you may {act} in {} only.", may.join(", and ")),
        };
        Error::because(Code::AccessDenied, Reason::FolderDenied, message)
    }
}

/// The answer where miner and validator are told different things, and nobody can say which of them this is:
/// an outage of what decides, and no refusal (P38).
pub(crate) fn role_undecided() -> Error {
    Error::new(
        Code::ServiceUnavailable,
        "Your hotkey has a validator permit, and its stake could not be read from the chain yet, so nobody \
         can say what you may do here. Please retry later.",
    )
    .reason(Reason::RoleUndecided)
    .detail("the metagraph has not been read since the start; look at chain_events of /snapshot")
}

/// Who answers a permitted list.
enum Listed {
    /// This server, with the common prefixes that lead to the caller's folders.
    Here(Vec<String>),
    /// The store, root by root.
    Roots(Vec<String>),
    /// The store, with this prefix.
    ByStore(String),
}

fn standing_to_root(root: &str, prefix: &str) -> Standing {
    if prefix.starts_with(root) {
        return Standing::Inside;
    }
    let Some(rest) = root.strip_prefix(prefix) else { return Standing::Outside };
    if rest == "/" {
        return Standing::FolderItself;
    }
    match rest.split_once('/') {
        Some((next, _)) if prefix.is_empty() || prefix.ends_with('/') => {
            Standing::Above(vec![format!("{prefix}{next}/")])
        }
        _ => Standing::Outside,
    }
}

#[cfg(test)]
mod tests;
