//! The endpoints that are not S3's, by their exact paths (P18). Routing, the names that no bucket may have,
//! and the API's description are all made from this list.

use http::Method;

macro_rules! endpoints {
    ($($(#[$doc:meta])* $name:ident = $method:ident $path:literal,)*) => {
        /// An endpoint that is not S3's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Endpoint { $($(#[$doc])* $name,)* }

        impl Endpoint {
            /// Every endpoint, in the order of the list.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its path.
            pub(crate) const fn path(self) -> &'static str {
                match self { $(Self::$name => $path,)* }
            }

            /// The methods it takes.
            pub(crate) const fn methods(self) -> Methods {
                match self { $(Self::$name => Methods::$method,)* }
            }
        }
    };
}

endpoints! {
    /// Session credentials for a hotkey's signature.
    Session = Post "/v1/session",
    /// A miner's form and list for its own folder.
    FolderAccess = Post "/get-folder-access",
    /// Lists of everything, for validators.
    ValidatorAccess = Post "/get-validator-access",
    /// The list of one miner, for validators.
    MinerAccess = Post "/get-miner-specific-access",
    /// Lists of all job folders, for validators.
    FolderUrls = Post "/get-folder-presigned-urls",
    /// Downloads of a miner's files, for validators.
    FileUrls = Post "/get-file-presigned-urls",
    /// A form for one new file, for miners.
    UploadUrl = Post "/get-file-upload-url",
    /// A page of the list of one miner, for validators.
    MinerList = Post "/get-miner-list",
    /// How the server, its store and its registry do.
    HealthCheck = Get "/healthcheck",
    /// Whether the process answers.
    Live = Get "/healthz",
    /// Whether the server can decide.
    Ready = Get "/readyz",
    /// The strings that are signed.
    CommitmentFormats = Get "/commitment-formats",
    /// How folders are laid out.
    StructureInfo = Get "/structure-info",
    /// The API's description as a page.
    Docs = Get "/docs",
    /// The API's description as OpenAPI.
    OpenApi = Get "/openapi.json",
}

/// The methods that an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Methods {
    /// GET, and HEAD as everywhere in HTTP.
    Get,
    /// POST alone.
    Post,
}

impl Methods {
    /// Whether `method` is one of them.
    pub(crate) fn contain(self, method: &Method) -> bool {
        match self {
            Self::Get => *method == Method::GET || *method == Method::HEAD,
            Self::Post => *method == Method::POST,
        }
    }

    /// The value of an `Allow` header.
    pub(crate) const fn allow(self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD",
            Self::Post => "POST",
        }
    }
}

impl Endpoint {
    /// The endpoint at exactly that path; none where the path is S3's business.
    pub(crate) fn at(path: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|endpoint| endpoint.path() == path)
    }

    /// Whether a bucket of that name would be hidden by an endpoint.
    pub(crate) fn reserves(bucket: &str) -> bool {
        Self::ALL.iter().any(|endpoint| endpoint.path().split('/').nth(1) == Some(bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p18_endpoints_match_by_their_exact_path() {
        assert_eq!(Endpoint::at("/docs"), Some(Endpoint::Docs));
        for path in ["/docs/", "/docs2", "/doc", "//docs", "/Docs", "/v1", "/v1/session/x", "", "/"] {
            assert_eq!(Endpoint::at(path), None, "{path}");
        }
        for endpoint in Endpoint::ALL {
            assert_eq!(Endpoint::at(endpoint.path()), Some(*endpoint));
        }
    }

    #[test]
    fn p18_no_bucket_has_the_name_of_an_endpoint() {
        for name in ["docs", "v1", "healthz", "openapi.json", "get-folder-access"] {
            assert!(Endpoint::reserves(name), "{name}");
        }
        for name in ["docs2", "doc", "data-universe", ""] {
            assert!(!Endpoint::reserves(name), "{name}");
        }
    }
}
