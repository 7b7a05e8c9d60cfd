//! System calls that no safe crate we use offers. The only unsafe code of the project.
//!
//! Each function says why the call is sound; none keeps a pointer beyond its own return.

#![cfg_attr(target_os = "linux", allow(unsafe_code))]

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{AsRawFd, BorrowedFd};

    /// For how many milliseconds the peer has acknowledged nothing while bytes, a FIN or window probes are
    /// outstanding; `None` if nothing is.
    ///
    /// `TCP_USER_TIMEOUT` would be simpler, but it kills readers that take little, not only those that are gone.
    pub(crate) fn unacknowledged_ms(socket: BorrowedFd<'_>) -> Option<u64> {
        // SAFETY: tcp_info is plain data, for which zeroes are valid.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
        // SAFETY: the descriptor is open for the life of the borrow; the kernel writes at most `len` bytes to `info`,
        // which is that large, and the new length to `len`.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut info).cast(),
                &raw mut len,
            )
        };
        let outstanding = info.tcpi_unacked > 0 || info.tcpi_probes > 0;
        (result == 0 && outstanding).then_some(u64::from(info.tcpi_last_ack_recv))
    }

    /// Bounds what the kernel buffers unsent for each connection accepted from a listener, which they inherit from.
    /// Without it a reader that takes nothing swallows megabytes before it shows.
    pub(crate) fn set_notsent_lowat(socket: BorrowedFd<'_>, bytes: i32) -> std::io::Result<()> {
        let value: libc::c_int = bytes;
        // SAFETY: the descriptor is open for the life of the borrow; the kernel reads one int from `value`.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_NOTSENT_LOWAT,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }

    /// Makes a file at least so long, with room on the disk for all of it: a full disk shows here, not in the middle
    /// of a write.
    pub(crate) fn allocate(file: &std::fs::File, len: u64) -> std::io::Result<()> {
        let len_signed = libc::off_t::try_from(len).map_err(|_| std::io::ErrorKind::FileTooLarge)?;
        // SAFETY: the descriptor is open for the life of the borrow; no memory is handed over.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, len_signed) } == 0 {
            return Ok(());
        }
        match std::io::Error::last_os_error() {
            // Some file systems cannot reserve; there a write says that the disk is full.
            error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => super::lengthen(file, len),
            error => Err(error),
        }
    }

    /// Gives free heap pages back to the system, as after a storm of connects.
    pub(crate) fn trim_heap() {
        #[cfg(target_env = "gnu")]
        // SAFETY: malloc_trim takes no pointer and may be called at any time from any thread.
        unsafe {
            libc::malloc_trim(0);
        }
    }

    fn descriptor_limit() -> Option<libc::rlimit> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel writes one rlimit to `limit`.
        (unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0).then_some(limit)
    }

    /// The soft limit on open descriptors.
    pub(crate) fn soft_descriptor_limit() -> Option<u64> {
        descriptor_limit().map(|limit| limit.rlim_cur)
    }

    /// Raises the soft limit on open descriptors to the hard one, and returns it.
    pub(crate) fn raise_descriptor_limit() -> Option<u64> {
        let mut limit = descriptor_limit()?;
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the kernel reads one rlimit from `limit`.
        _ = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        soft_descriptor_limit()
    }
}

/// Makes a file at least so long.
pub(crate) fn lengthen(file: &std::fs::File, len: u64) -> std::io::Result<()> {
    if file.metadata()?.len() < len { file.set_len(len) } else { Ok(()) }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::set_notsent_lowat;
#[cfg(target_os = "linux")]
pub(crate) use linux::{allocate, raise_descriptor_limit, soft_descriptor_limit, trim_heap, unacknowledged_ms};

/// Elsewhere these are refinements that are missing, not needed for correctness: dead peers are found by the
/// kernel's own retransmission timeout, and the descriptor limit is what the shell set.
#[cfg(not(target_os = "linux"))]
mod portable {
    pub(crate) use super::lengthen as allocate;

    pub(crate) fn trim_heap() {}

    pub(crate) fn soft_descriptor_limit() -> Option<u64> {
        None
    }

    pub(crate) fn raise_descriptor_limit() -> Option<u64> {
        None
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) use portable::{allocate, raise_descriptor_limit, soft_descriptor_limit, trim_heap};
