//! Before the first object is read: the list, the plan, what stands here, and the room there is. \[IO\]

use std::{io, path::Path, sync::Arc};

use tokio::task::spawn_blocking;

use super::{
    Settings, StartFault,
    fetch::{Job, Target},
    folder::{Folder, Standing, WorkFolder},
    local_path::{Folding, NAME_BYTES_MAX},
    partial::{Partial, id_of},
    plan::{self, Names, Need, Plan, Planned, Space, space_needed},
    verified::Verified,
};
use crate::{
    client::{Bucket, object::Listed},
    transfer::{
        progress::Progress,
        report::{Outcome, Row},
    },
};

/// What is known before the first object is read.
pub(super) struct Prepared {
    pub(super) target: Arc<Target>,
    pub(super) jobs: Vec<Job>,
    /// Objects that can be no files here.
    pub(super) rows: Vec<Row>,
    pub(super) markers: u64,
    pub(super) left_out: u64,
}

/// Lists, plans, looks at what stands here, and makes sure of the room.
pub(super) async fn prepare(
    bucket: &Bucket,
    settings: &Settings,
    progress: &Progress,
) -> Result<Prepared, StartFault> {
    let mut objects: Vec<Listed> = Vec::new();
    let list = bucket.list(&settings.prefix, |object| {
        objects.push(object);
        if objects.len().is_multiple_of(1000) {
            progress.listed(objects.len() as u64);
        }
    });
    list.await?;
    progress.listed(objects.len() as u64);
    let place = place(&settings.dir, settings.is_dry_run)?;
    let Plan { files, refused, markers, left_out } =
        plan::plan(&settings.prefix, objects, &settings.filter, place.names);
    let mut rows: Vec<Row> = refused
        .into_iter()
        .map(|refused| Row {
            outcome: Outcome::Refused,
            path: String::new(),
            key: refused.object.key,
            bytes: refused.object.size,
            detail: format!("{} ({})", refused.fault, refused.fault.advice()),
        })
        .collect();
    let (base_url, bucket_name) = (bucket.place().base_url.clone(), bucket.place().bucket.clone());
    let (dir, parallel) = (settings.dir.clone(), settings.parallel);
    let looking = spawn_blocking(move || look(&dir, place, files, &base_url, &bucket_name, parallel));
    let looked = looking
        .await
        .unwrap_or_else(|error| Err(StartFault::Folder(settings.dir.clone(), io::Error::other(error))))?;
    rows.extend(looked.rows);
    Ok(Prepared { target: Arc::new(looked.target), jobs: looked.jobs, rows, markers, left_out })
}

/// The folder, as it is found or made.
struct Place {
    /// None in a dry run to a folder that is not there yet.
    folder: Option<Folder>,
    work: Option<WorkFolder>,
    names: Names,
}

fn place(dir: &Path, is_dry_run: bool) -> Result<Place, StartFault> {
    let fault = |error: io::Error| StartFault::Folder(dir.to_owned(), error);
    if !is_dry_run {
        std::fs::create_dir_all(dir).map_err(fault)?;
    }
    let folder = match Folder::open(dir) {
        Ok(folder) => folder,
        Err(error) if is_dry_run && error.kind() == io::ErrorKind::NotFound => {
            let names = Names { bytes_max: NAME_BYTES_MAX, folding: Folding::default() };
            return Ok(Place { folder: None, work: None, names });
        }
        Err(error) => return Err(fault(error)),
    };
    let work = match is_dry_run {
        true => folder.work_if_there(),
        false => folder.work().map(Some),
    };
    let work = work.map_err(|error| StartFault::Work(dir.to_owned(), error))?;
    let folding = work.as_ref().map_or(Ok(Folding::default()), WorkFolder::folding).map_err(fault)?;
    let names = Names { bytes_max: folder.name_bytes_max(), folding };
    Ok(Place { folder: Some(folder), work, names })
}

/// What stands here.
struct Looked {
    target: Target,
    jobs: Vec<Job>,
    rows: Vec<Row>,
}

/// Looks at what stands under each path. It blocks.
fn look(
    dir: &Path,
    place: Place,
    files: Vec<Planned>,
    base_url: &str,
    bucket: &str,
    parallel: usize,
) -> Result<Looked, StartFault> {
    let fault = |error: io::Error| StartFault::Folder(dir.to_owned(), error);
    let Place { folder, work, names: _ } = place;
    let (mut jobs, mut rows, mut needs) = (Vec::with_capacity(files.len()), Vec::new(), Vec::new());
    for Planned { object, path } in files {
        let id = id_of(base_url, bucket, &object.key);
        let standing = match folder.as_ref().map_or(Ok(Standing::Absent), |folder| folder.look(&path)) {
            Ok(standing) => standing,
            Err(error) => {
                rows.push(Row {
                    outcome: Outcome::Refused,
                    path: path.to_string(),
                    key: object.key,
                    bytes: object.size,
                    detail: format!("{error} ({})", error.advice()),
                });
                continue;
            }
        };
        let replaced_bytes = match standing {
            Standing::Absent => None,
            Standing::File(identity) => Some(identity.size),
        };
        // A file of the same size is most likely the same, and at worst takes its own place.
        if replaced_bytes != Some(object.size) {
            let partial_bytes = work.as_ref().map_or(0, |work| Partial::bytes_on_disk(work, &id));
            needs.push(Need { bytes: object.size, replaced_bytes, partial_bytes });
        }
        jobs.push(Job { object, path, standing, id });
    }
    // For a folder that is not there yet, the disk of the one that will hold it.
    let existing = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("."));
    let folder = match folder {
        Some(folder) => folder,
        None => Folder::open(existing).map_err(fault)?,
    };
    check_room(dir, &space_needed(&needs, parallel), &folder.space().map_err(fault)?)?;
    let verified = work.as_ref().map_or(Ok(Verified::nothing()), Verified::load).map_err(fault)?;
    Ok(Looked { target: Target { folder, work, verified }, jobs, rows })
}

fn check_room(dir: &Path, needed: &Space, free: &Space) -> Result<(), StartFault> {
    let dir = dir.to_owned();
    if needed.bytes > free.bytes {
        return Err(StartFault::NoSpace { dir, needed: needed.bytes, free: free.bytes });
    }
    match (needed.files, free.files) {
        (Some(needed), Some(free)) if needed > free => Err(StartFault::NoFiles { dir, needed, free }),
        _ => Ok(()),
    }
}
