//! `POST /get-folder-presigned-urls`: lists of all job folders, for validators.
//!
//! The answer is made as the client reads it: what is in memory of it is the list of folders, which all
//! answers share, and one piece.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::{BODY_BYTES_MAX, ValidatorRequest, VendedEndpoints, account, incomplete_list, links::Links};
use crate::{
    auth::bittensor::vending::VendingRequest,
    body::made::Pieces,
    endpoints::{
        discovery::{Depth, Folder, Found},
        json::Refusal,
    },
    error::{Error, Result},
    exchange::{Exchange, RequestBody},
};

/// A piece is sent on when it has as much: some sixteen URLs.
const PIECE_BYTES: usize = 16 << 10;

/// Lists of all job folders.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct FolderUrls {
    folder_urls: BTreeMap<String, MinerFolders>,
    total_miners: usize,
    /// The string that was signed.
    commitment_used: String,
}

/// The folders of one miner.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct MinerFolders {
    miner_path: String,
    job_folders: Vec<JobFolder>,
    /// Those that are shown.
    total_jobs: usize,
    /// Whether there are, or may be, more than are shown; `rest_urls` lists them.
    truncated: bool,
    /// By prefix, where not all folders below it are shown: a list of all that is there, which can be paged.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    rest_urls: BTreeMap<String, String>,
}

/// One job folder.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct JobFolder {
    job_id: String,
    path: String,
    presigned_url: String,
}

impl VendedEndpoints {
    /// The lists, as [`FolderUrls`] in JSON.
    pub(in crate::endpoints) async fn folder_urls(
        &self,
        exchange: &mut Exchange,
        body: RequestBody,
    ) -> std::result::Result<Pieces, Refusal> {
        let (request, _buffered): (ValidatorRequest, _) = self.read(exchange, body, BODY_BYTES_MAX).await?;
        let hotkey = account("hotkey", &request.hotkey)?;
        let fields = request.signed_fields();
        let verified = self.verify_validator(&VendingRequest::Folders(hotkey), &fields, exchange).await?;
        let found = self
            .discovery
            .folders(&verified.caller, &verified.snapshot, Depth::Whole, exchange.moment())
            .await
            .map_err(incomplete_list)?;
        let links = self.links(exchange, &verified, verified.expires_at)?;
        let list = move |prefix: &str| links_list(&links, prefix);
        Ok(Box::new(Writer::new(found, list, verified.string)))
    }
}

fn links_list(links: &Links, prefix: &str) -> Result<String> {
    links.list(prefix, None)
}

/// What a [`Writer`] writes next.
enum Next {
    Beginning,
    Miner,
    /// The folders of the miner, from the first.
    Jobs {
        first: usize,
    },
    /// What lists the rest of the miner's, behind the one before; so many folders were shown.
    Rest {
        before: Option<String>,
        jobs: usize,
    },
    Nothing,
}

/// Writes [`FolderUrls`], with the names of each object in alphabetical order as everywhere.
struct Writer<L> {
    found: Arc<Found>,
    /// Gives the presigned list of a prefix.
    list: L,
    commitment: String,
    next: Next,
    /// Folders written.
    index: usize,
    /// The miner that is being written, or was the last.
    miner: String,
    miners: usize,
    piece: String,
}

impl<L: FnMut(&str) -> Result<String>> Writer<L> {
    fn new(found: Arc<Found>, list: L, commitment: String) -> Self {
        let (miner, piece) = (String::new(), String::new());
        Self { found, list, commitment, next: Next::Beginning, index: 0, miner, miners: 0, piece }
    }

    /// Writes on, with one signature at most.
    fn step(&mut self) -> Result<()> {
        let found = Arc::clone(&self.found);
        self.next = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Beginning => {
                let commitment = json(&self.commitment)?;
                self.piece.push_str(&format!(r#"{{"commitment_used":{commitment},"folder_urls":{{"#));
                Next::Miner
            }
            Next::Miner => self.begin_miner(&found)?,
            Next::Jobs { first } => match found.folders.get(self.index) {
                Some(folder) if folder.miner == self.miner => {
                    let job = JobFolder {
                        job_id: folder.values.last().cloned().unwrap_or_default(),
                        path: folder.prefix.clone(),
                        presigned_url: (self.list)(&folder.prefix)?,
                    };
                    self.separate(self.index == first);
                    self.piece.push_str(&json(&job)?);
                    self.index = self.index.saturating_add(1);
                    Next::Jobs { first }
                }
                Some(_) | None => self.end_jobs(&found, first)?,
            },
            Next::Rest { before, jobs } => self.rest(&found, before, jobs)?,
            Next::Nothing => Next::Nothing,
        };
        Ok(())
    }

    /// Begins the next miner that has folders or a rest; ends the document where there is none.
    fn begin_miner(&mut self, found: &Found) -> Result<Next> {
        let with_folders = found.folders.get(self.index).map(|folder| folder.miner.as_str());
        let behind = (Excluded(self.miner.as_str()), Unbounded);
        let with_rest = found.truncated.range::<str, _>(behind).next().map(|(miner, _)| miner.as_str());
        let Some(miner) = with_folders.into_iter().chain(with_rest).min() else {
            self.piece.push_str(&format!(r#"}},"total_miners":{}}}"#, self.miners));
            return Ok(Next::Nothing);
        };
        self.separate(self.miners == 0);
        self.piece.push_str(&format!(r#"{}:{{"job_folders":["#, json(miner)?));
        miner.clone_into(&mut self.miner);
        self.miners = self.miners.saturating_add(1);
        Ok(Next::Jobs { first: self.index })
    }

    fn end_jobs(&mut self, found: &Found, first: usize) -> Result<Next> {
        let rest = found.truncated.get(&self.miner);
        let path = match (found.folders.get(first).filter(|_| first < self.index), rest) {
            (Some(folder), _) => miner_path(folder),
            (None, Some(rest)) => rest.first().cloned().unwrap_or_default(),
            (None, None) => String::new(),
        };
        self.piece.push_str(&format!(r#"],"miner_path":{}"#, json(&path)?));
        let jobs = self.index.saturating_sub(first);
        if rest.is_some() {
            self.piece.push_str(r#","rest_urls":{"#);
            return Ok(Next::Rest { before: None, jobs });
        }
        self.end_miner(jobs, false);
        Ok(Next::Miner)
    }

    fn rest(&mut self, found: &Found, before: Option<String>, jobs: usize) -> Result<Next> {
        let of_miner = found.truncated.get(&self.miner);
        let prefix = match &before {
            None => of_miner.and_then(|rest| rest.first()),
            Some(before) => {
                of_miner.and_then(|rest| rest.range::<str, _>((Excluded(before.as_str()), Unbounded)).next())
            }
        };
        let Some(prefix) = prefix else {
            self.piece.push('}');
            self.end_miner(jobs, true);
            return Ok(Next::Miner);
        };
        let url = (self.list)(prefix)?;
        self.separate(before.is_none());
        self.piece.push_str(&format!("{}:{}", json(prefix)?, json(&url)?));
        Ok(Next::Rest { before: Some(prefix.clone()), jobs })
    }

    fn end_miner(&mut self, jobs: usize, is_truncated: bool) {
        self.piece.push_str(&format!(r#","total_jobs":{jobs},"truncated":{is_truncated}}}"#));
    }

    fn separate(&mut self, is_first: bool) {
        if !is_first {
            self.piece.push(',');
        }
    }
}

impl<L: FnMut(&str) -> Result<String>> Iterator for Writer<L> {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Result<Bytes>> {
        while self.piece.len() < PIECE_BYTES && !matches!(self.next, Next::Nothing) {
            if let Err(error) = self.step() {
                self.piece.clear();
                self.next = Next::Nothing;
                return Some(Err(error));
            }
        }
        let piece = std::mem::take(&mut self.piece);
        (!piece.is_empty()).then(|| Ok(Bytes::from(piece)))
    }
}

/// The folder's path up to the miner's name.
fn miner_path(folder: &Folder) -> String {
    let end = folder.prefix.find(&folder.miner).map(|at| at.saturating_add(folder.miner.len()));
    format!("{}/", end.and_then(|end| folder.prefix.get(..end)).unwrap_or(&folder.prefix))
}

fn json(value: &(impl Serialize + ?Sized)) -> Result<String> {
    serde_json::to_string(value).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::discovery::Truncated;

    fn found(miners: &[(&str, usize, &[&str])]) -> Arc<Found> {
        let mut found = Found::default();
        for (miner, jobs, rest) in miners {
            found.folders.extend((0..*jobs).map(|job| Folder {
                prefix: format!("data/{miner}/job \"{job}\"/"),
                miner: (*miner).to_owned(),
                values: vec![format!("job \"{job}\"")],
                template: 0,
            }));
            if !rest.is_empty() {
                let rest = rest.iter().map(|prefix| (*prefix).to_owned()).collect();
                found.truncated.extend(Truncated::from([((*miner).to_owned(), rest)]));
            }
        }
        Arc::new(found)
    }

    /// The same as one value.
    fn whole(found: &Found) -> FolderUrls {
        let url = |prefix: &str| format!("https://h/?prefix={prefix}");
        let mut folder_urls: BTreeMap<String, MinerFolders> = BTreeMap::new();
        let empty = |miner_path: String| MinerFolders {
            miner_path,
            job_folders: Vec::new(),
            total_jobs: 0,
            truncated: false,
            rest_urls: BTreeMap::new(),
        };
        for folder in &found.folders {
            let miner = folder_urls.entry(folder.miner.clone()).or_insert_with(|| empty(miner_path(folder)));
            miner.job_folders.push(JobFolder {
                job_id: folder.values.last().cloned().unwrap_or_default(),
                path: folder.prefix.clone(),
                presigned_url: url(&folder.prefix),
            });
            miner.total_jobs += 1;
        }
        for (miner, rest) in &found.truncated {
            for prefix in rest {
                let miner = folder_urls.entry(miner.clone()).or_insert_with(|| empty(prefix.clone()));
                miner.truncated = true;
                miner.rest_urls.insert(prefix.clone(), url(prefix));
            }
        }
        FolderUrls { total_miners: folder_urls.len(), folder_urls, commitment_used: "s3:\"x\"".to_owned() }
    }

    #[test]
    fn pieces_together_are_the_document() {
        for miners in [
            &[][..],
            &[("a", 1, &[][..])],
            &[("b", 0, &["data/", "else/"][..])],
            &[("a", 0, &["data/"][..]), ("b", 3, &[]), ("c", 2, &["data/c/", "data/d/"]), ("d", 0, &["x"])],
            &[("a", 1000, &[][..]), ("b", 1000, &["data/b/"])],
        ] {
            let found = found(miners);
            let list = |prefix: &str| Ok(format!("https://h/?prefix={prefix}"));
            let writer = Writer::new(Arc::clone(&found), list, "s3:\"x\"".to_owned());
            let pieces: Vec<Bytes> = writer.map(Result::unwrap).collect();
            let document = String::from_utf8(pieces.concat()).unwrap();
            assert_eq!(document, serde_json::to_value(whole(&found)).unwrap().to_string());
            assert!(pieces.iter().all(|piece| piece.len() < PIECE_BYTES + 1024));
            assert!(document.len() < PIECE_BYTES || pieces.len() > document.len() / PIECE_BYTES);
        }
    }

    #[test]
    fn what_cannot_be_signed_breaks_the_document_off() {
        let mut left = 3;
        let list = |_: &str| {
            left -= 1;
            if left == 0 { Err(Error::internal("why")) } else { Ok("x".repeat(PIECE_BYTES)) }
        };
        let mut writer = Writer::new(found(&[("a", 9, &[])]), list, String::new());
        assert!(writer.next().unwrap().is_ok() && writer.next().unwrap().is_ok());
        assert!(writer.next().unwrap().is_err() && writer.next().is_none());
    }
}
