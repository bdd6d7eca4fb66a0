//! What a person calls: dev, serve, check, credentials.
