//! Keys that end in `/`: folder markers, and objects of such a name.
//!
//! Stores have no folders, so clients (pyarrow, Hadoop's s3a, consoles) put an object of nothing under the
//! folder's name, and under those of the folders above it. Such a marker says nothing that the keys below it
//! do not say, so it is answered and not stored, unless the configuration says otherwise (P22).
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-folders.html>.
//! Invariant: above the caller's folders nothing is stored, whatever the configuration.

/// What becomes of folder markers in the caller's own folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FolderMarkers {
    /// They are answered, and not stored.
    #[default]
    Answer,
    /// They are stored.
    Store,
}

/// Where a key that ends in `/` lies, of those that the caller may put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Where the caller may write.
    InFolder,
    /// On the way to one of the caller's own folders.
    AboveFolders,
}

/// What a PUT of a key that ends in `/` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A folder marker that is answered here.
    Marker,
    /// A folder marker that is stored.
    StoredMarker,
    /// An object like any other.
    Object,
    /// An object where there may be none.
    Denied,
}

/// Decides by the place of the key and the bytes that its body declares.
pub(super) fn kind(markers: FolderMarkers, place: Place, body_bytes: u64) -> Kind {
    match (place, body_bytes, markers) {
        (Place::AboveFolders, 0, FolderMarkers::Answer | FolderMarkers::Store)
        | (Place::InFolder, 0, FolderMarkers::Answer) => Kind::Marker,
        (Place::InFolder, 0, FolderMarkers::Store) => Kind::StoredMarker,
        (Place::InFolder, 1.., FolderMarkers::Answer | FolderMarkers::Store) => Kind::Object,
        (Place::AboveFolders, 1.., FolderMarkers::Answer | FolderMarkers::Store) => Kind::Denied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p22_above_the_folders_nothing_is_stored() {
        for (markers, empty_inside) in
            [(FolderMarkers::Answer, Kind::Marker), (FolderMarkers::Store, Kind::StoredMarker)]
        {
            assert_eq!(kind(markers, Place::InFolder, 0), empty_inside);
            assert_eq!(kind(markers, Place::AboveFolders, 0), Kind::Marker);
            for bytes in [1, 1024, u64::MAX] {
                assert_eq!(kind(markers, Place::InFolder, bytes), Kind::Object);
                assert_eq!(kind(markers, Place::AboveFolders, bytes), Kind::Denied);
            }
        }
    }
}
