//! From a request to a verified principal; nothing else can make one.
