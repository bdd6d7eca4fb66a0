//! Which rate and which daily number a request counts by.

use super::daily::DayCharge;
use crate::{endpoint::Endpoint, s3::Operation};

/// The kinds of requests that have a rate of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// GET and HEAD of objects, and questions about the bucket.
    Read,
    /// What changes something.
    Write,
    /// Lists.
    List,
    /// The signed endpoints beside S3.
    Control,
}

/// What a request of S3 counts as.
pub(super) fn of_operation(operation: Operation) -> (Class, DayCharge) {
    match operation {
        Operation::ListBuckets
        | Operation::HeadBucket
        | Operation::CreateBucket
        | Operation::GetBucketLocation
        | Operation::GetObject
        | Operation::HeadObject
        | Operation::GetObjectAttributes => (Class::Read, DayCharge::Request),
        Operation::ListObjects
        | Operation::ListObjectsV2
        | Operation::ListMultipartUploads
        | Operation::ListParts => (Class::List, DayCharge::Request),
        Operation::DeleteObjects
        | Operation::PutObject
        | Operation::CopyObject
        | Operation::UploadPart
        | Operation::UploadPartCopy
        | Operation::CreateMultipartUpload
        | Operation::CompleteMultipartUpload
        | Operation::DeleteObject => (Class::Write, DayCharge::Request),
        Operation::AbortMultipartUpload => (Class::Write, DayCharge::Free),
    }
}

/// What a signed request to an endpoint counts as; none for endpoints that nobody signs for.
pub(super) fn of_endpoint(endpoint: Endpoint) -> Option<(Class, DayCharge)> {
    match endpoint {
        Endpoint::FolderAccess | Endpoint::ValidatorAccess | Endpoint::MinerAccess | Endpoint::FolderUrls => {
            Some((Class::Control, DayCharge::Vended))
        }
        // A download for each file that a validator reads, as a GET would be.
        Endpoint::Session | Endpoint::FileUrls => Some((Class::Control, DayCharge::Request)),
        // Asked for each file of a miner's whole cycle and for each page of a list, by clients that do not
        // try again; what it leads to is charged as a write or a list.
        Endpoint::UploadUrl | Endpoint::MinerList => Some((Class::Read, DayCharge::Request)),
        Endpoint::HealthCheck
        | Endpoint::Live
        | Endpoint::Ready
        | Endpoint::CommitmentFormats
        | Endpoint::StructureInfo
        | Endpoint::Docs
        | Endpoint::OpenApi => None,
    }
}
