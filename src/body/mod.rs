//! Bodies that stream: decoded, bounded, and held back at the end until they are proven.
