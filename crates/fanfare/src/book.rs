//! The Rust of the book compiles, and runs where it can: one item for each page with Rust in it. The pages are not part of
//! the published crate, so this is for doctests only.

#![cfg(doctest)]

#[doc = include_str!("../../../docs/getting-started.md")]
struct GettingStarted;

#[doc = include_str!("../../../docs/guides/compression.md")]
struct Compression;

#[doc = include_str!("../../../docs/guides/embedding.md")]
struct Embedding;

#[cfg(feature = "client")]
#[doc = include_str!("../../../docs/guides/rust-client.md")]
struct RustClient;

#[doc = include_str!("../../../docs/security.md")]
struct Security;

#[cfg(feature = "test-util")]
#[doc = include_str!("../../../docs/guides/testing-rust.md")]
struct TestingRust;
