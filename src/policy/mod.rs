//! Who may do what: a verified caller and a parsed request go in, a [`Permit`] or a refusal comes out.
//!
//! Pure: no IO, no clock. A [`Permit`] is made here alone, and nothing reaches the store without one. Invariants:
//! - what no rule allows is refused, and before the store is asked, so that a refusal says nothing of existence (P36);
//! - a copy is two permissions: write here, read there (P30).

mod rights;
mod template;

use std::{collections::BTreeSet, sync::Arc};

pub use rights::{Action, Rights, RoleRights};
pub use template::{Bound, Standing, Template, Values};

use crate::{
    chain::{AccountId, Owner, Role},
    error::{Code, Error, Result},
    s3::{
        Operation, Request,
        key::{check_key, check_prefix},
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
    /// Under these (each with its `/`, or empty for the whole bucket) lies everything that `all` rights reach.
    roots: Vec<String>,
    rights: RoleRights,
}

/// How a permitted listing is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// By the store, with this prefix.
    Forward(String),
    /// Here, with just these common prefixes: they lead to the caller's folders.
    Answer(Vec<String>),
}

/// Leave to do exactly one request. Only [`Policy::authorise`] makes it.
#[derive(Debug)]
pub struct Permit<'a> {
    policy: &'a Policy,
    caller: &'a Caller,
    request: Request,
    listing: Option<Listing>,
}

impl Policy {
    /// A policy over `templates`; the roots are the literal beginnings of the templates.
    pub fn new(templates: Vec<Template>, rights: RoleRights) -> Self {
        let mut roots: Vec<String> =
            templates.iter().map(Template::root).collect::<BTreeSet<_>>().into_iter().collect();
        // `data/` covers `data/x/`: keep only roots that lie under no other.
        let all = roots.clone();
        roots.retain(|root| !all.iter().any(|other| other != root && root.starts_with(other.as_str())));
        Self { templates, roots, rights }
    }

    /// What begins everything that validators see.
    pub fn roots(&self) -> &[String] {
        &self.roots
    }

    /// The folder templates.
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// The folders that are `owner`'s; an open variable is shown by its name.
    pub fn folders(&self, owner: &Owner) -> Vec<String> {
        self.templates.iter().flat_map(|template| template.folders(owner)).collect()
    }

    /// Decides on one request. Refusals name the caller's own folders and say nothing of what exists.
    pub fn authorise<'a>(&'a self, caller: &'a Caller, request: Request) -> Result<Permit<'a>> {
        let mut listing = None;
        match request.operation {
            Operation::ListBuckets
            | Operation::HeadBucket
            | Operation::CreateBucket
            | Operation::GetBucketLocation => {}
            Operation::ListObjects | Operation::ListObjectsV2 | Operation::ListMultipartUploads => {
                listing = Some(self.authorise_listing(caller, &request)?);
            }
            // Each key stands in the body and is judged by `Permit::check_delete`.
            Operation::DeleteObjects => {}
            Operation::GetObject | Operation::HeadObject | Operation::GetObjectAttributes => {
                self.check(caller, Action::Read, request.key()?)?;
            }
            Operation::ListParts => self.check(caller, Action::List, request.key()?)?,
            Operation::PutObject
            | Operation::UploadPart
            | Operation::CreateMultipartUpload
            | Operation::CompleteMultipartUpload
            | Operation::AbortMultipartUpload => self.check(caller, Action::Write, request.key()?)?,
            Operation::CopyObject | Operation::UploadPartCopy => {
                self.check(caller, Action::Write, request.key()?)?;
                self.check(caller, Action::Read, &request.copy_source()?.key)?;
            }
            Operation::DeleteObject => self.check(caller, Action::Delete, request.key()?)?,
        }
        Ok(Permit { policy: self, caller, request, listing })
    }

    fn check(&self, caller: &Caller, action: Action, key: &str) -> Result<()> {
        check_key(key)?;
        let rights = self.rights.of(caller.role);
        let own = rights.own.contains(action)
            && self.templates.iter().any(|template| template.owns(&caller.owner, key));
        let all = rights.all.contains(action) && self.roots.iter().any(|root| key.starts_with(root.as_str()));
        if own || all { Ok(()) } else { Err(self.denied(caller, action)) }
    }

    fn authorise_listing(&self, caller: &Caller, request: &Request) -> Result<Listing> {
        let query = |name| request.query.get(name).unwrap_or_default();
        let prefix = query("prefix");
        check_prefix(prefix)?;
        let by_slash = query("delimiter") == "/";
        let answerable = by_slash && request.operation != Operation::ListMultipartUploads;
        let listing = match self.standing(caller, prefix) {
            Standing::Inside => Listing::Forward(prefix.to_owned()),
            // S3 shows a folder that is named without its slash as one common prefix.
            Standing::FolderItself if answerable => Listing::Answer(vec![format!("{prefix}/")]),
            Standing::FolderItself => Listing::Forward(format!("{prefix}/")),
            Standing::Above(next) if answerable => Listing::Answer(next),
            Standing::Above(_) | Standing::Outside => return Err(self.denied(caller, Action::List)),
        };
        for name in ["marker", "start-after", "key-marker"] {
            if name == START_AFTER && is_continued(&request.query) {
                continue;
            }
            let marker = query(name);
            check_prefix(marker)?;
            let harmless = prefix.starts_with(marker) || self.standing(caller, marker) == Standing::Inside;
            if !harmless && matches!(listing, Listing::Forward(_)) {
                return Err(self.denied(caller, Action::List));
            }
        }
        Ok(listing)
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
            let mut folders = self.folders(&caller.owner);
            folders.truncate(FOLDERS_SHOWN);
            may.push(format!("your folders, {}", folders.join(" and ")));
        }
        if rights.all.contains(action) {
            may.push(format!("what lies under {}", self.roots.join(" and ")));
        }
        let message = match (may.is_empty(), action) {
            (true, _) => format!("FolderDenied: a {} may not {act} here at all.", caller.role.as_str()),
            (false, Action::List) => format!(
                "FolderDenied: you may list {} only; set the prefix to one of them (or the delimiter to / to walk down to it).",
                may.join(", and ")
            ),
            (false, _) => format!("FolderDenied: you may {act} in {} only.", may.join(", and ")),
        };
        Error::new(Code::AccessDenied, message)
    }
}

impl Permit<'_> {
    /// The request that is permitted.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Who it is permitted to.
    pub fn caller(&self) -> &Caller {
        self.caller
    }

    /// How a listing is to be answered; none for other operations.
    pub fn listing(&self) -> Option<&Listing> {
        self.listing.as_ref()
    }

    /// Judges one key of a DeleteObjects body (P31).
    pub fn check_delete(&self, key: &str) -> Result<()> {
        self.policy.check(self.caller, Action::Delete, key)
    }
}

pub(crate) use crate::s3::listing::{START_AFTER, is_continued};

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
