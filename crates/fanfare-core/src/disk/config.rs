//! What can be chosen about the log on disk.

/// Bounds of the log on disk. Segments are dropped whole, so each bound is met to a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskConfig {
    /// Most bytes of records.
    pub bytes: u64,
    /// Greatest age in milliseconds.
    pub age_ms: u64,
    /// Most records; `None` is any number.
    pub records: Option<u64>,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self { bytes: 1 << 30, age_ms: 7 * 86_400_000, records: None }
    }
}

impl DiskConfig {
    /// A log has about so many segments when it is full.
    pub(super) const SEGMENTS: u64 = 64;

    /// A segment that is larger is followed by another.
    pub(super) fn segment_bytes(self) -> u64 {
        (self.bytes / Self::SEGMENTS).clamp(64 << 10, 16 << 20)
    }
}
